// The table of flows, and the pipeline of a flow, for the report and for the page in Airflow. See table.js for what
// the caller owns.

import { attributeList, count, el, fact, shorten, svg, time } from "./dom.js";
import { dataTable } from "./table.js";

export const DEFAULT_SORT = "-updated";

const COLUMNS = [
  { key: "name", label: "Flow", textual: true, cell: (flow) => [el("bdi", {}, flow.name || "(no name)")] },
  { key: "project", label: "Training project", textual: true, kind: "wide",
    cell: (flow) => [el("bdi", {}, flow.project)] },
  { label: "Attributes", kind: "wide attributes", cell: (flow) => attributeList(flow.attributes) },
  { key: "blocks", label: "Blocks", kind: "number", cell: (flow) => [String(flow.blocks)] },
  { key: "generation", label: "Generation", kind: "number medium", cell: (flow) => [String(flow.generation)] },
  { key: "created", label: "Created", note: "UTC", kind: "number medium", cell: (flow) => [time(flow.created)] },
  { key: "updated", label: "Updated", note: "UTC", kind: "number", cell: (flow) => [time(flow.updated)] },
];

const haystack = (flow) => [
  flow.name,
  flow.id,
  flow.project,
  ...Object.entries(flow.attributes).map(([key, value]) => `${key}=${value}`),
  flow.change ? `is:${flow.change}` : "",
].join("\n").toLowerCase();

/**
 * Draw the table of flows into `root`.
 *
 * @param flows `{id, name, project, blocks, generation, created, updated, attributes, change}` of each flow: `blocks` is
 *   their number, times are milliseconds, `project` may be "", and `change` is "" or a tag like "added"
 * @param state `{query, sort, open}`, see `dataTable`; `emptyState()` returns one
 * @param spec returns the spec of a flow, or a promise of it, when its row is opened
 * @param extra returns further nodes for the top of an open row, given the flow and its spec
 * @param onChange is called after the reader has changed the state
 * @returns what `dataTable` returns; `replaceRows` takes flows
 */
export function flowTable(root, { flows, state, spec, extra = () => [], onChange }) {
  const rows = (each) => each.map((flow) => ({ ...flow, haystack: haystack(flow) }));
  const details = (flow) => {
    const draw = (loaded) => [...extra(flow, loaded), ...flowDetails(flow, loaded)];
    const found = spec(flow);
    if (typeof found?.then !== "function") return draw(found);
    const place = el("div", {}, el("p", { class: "quiet" }, "Loading…"));
    found.then(
      (loaded) => place.replaceChildren(...draw(loaded)),
      (error) => place.replaceChildren(el("p", { class: "caveat", role: "alert" }, error.message)),
    );
    return [place];
  };
  const table = dataTable(root, {
    noun: "flow", hint: "name, id, project, attributes", columns: COLUMNS, rows: rows(flows), state, details, onChange,
  });
  return { ...table, replaceRows: (others) => table.replaceRows(rows(others)) };
}

export const emptyState = () => ({ query: "", sort: DEFAULT_SORT, open: new Set() });

/** The pipeline, the facts and the spec of a flow. */
export function flowDetails(flow, spec) {
  const tolerations = Object.entries(spec.tolerations ?? {}).map(([key, values]) => `${key}: ${values.join(", ")}`);
  const attributes = attributeList(flow.attributes);
  return [
    pipelinePanel(spec.blocks),
    el("div", { class: "columns" },
      el("dl", { class: "facts" },
        fact("Flow id", el("code", {}, flow.id)),
        fact("Training project", el("bdi", {}, flow.project || "none")),
        fact("Attributes", ...(attributes.length ? attributes : ["none"])),
        fact("Created", time(flow.created, 19), " UTC"),
        fact("Updated", time(flow.updated, 19), " UTC"),
        fact("Generation", String(flow.generation)),
        fact("Schema", el("bdi", {}, spec.schema)),
        fact("Tolerations", tolerations.join("; ") || "none")),
      el("pre", { tabindex: 0, role: "region", "aria-label": "Spec as JSON" }, JSON.stringify(spec, null, 2))),
  ];
}

// --- the pipeline -----------------------------------------------------------------------------------------------------

const BOX = { least: 226, most: 340, top: 46, line: 18, pad: 14, gapX: 44, gapY: 40, glyph: 6.7 };
// Vi does not document settings; these names are common and the most informative. Others follow in their own order.
const TELLING = [/(^|\.)name$/, /(^id|Id)$/, /prompt$/i, /epochs$/i, /learning_?rate$/i, /batch_?size$/i, /mode$/i];
const LINES = 3;

/** The members of JSON data that have no members of their own, each with its path. */
export function* leaves(value, path = "") {
  if (value !== null && typeof value === "object" && !Array.isArray(value)) {
    for (const [key, member] of Object.entries(value)) yield* leaves(member, path ? `${path}.${key}` : key);
  } else {
    yield [path, typeof value === "string" ? value : JSON.stringify(value)];
  }
}

/** The settings that a box shows, as lines of at most `length` characters, and the number of those left out. */
function tellingLines(settings, length) {
  const rank = ([path]) => {
    const found = TELLING.findIndex((pattern) => pattern.test(path));
    return found < 0 ? TELLING.length : found;
  };
  const all = [...leaves(settings)].sort((a, b) => rank(a) - rank(b));
  const shown = all.slice(0, LINES).map(([path, value]) => {
    const whole = `${path}: ${value}`;
    return whole.length <= length ? whole : `${path.split(".").pop()}: ${value}`;
  });
  const lines = shown.length === 1 ? wrap(shown[0], length) : shown.map((line) => shorten(line, length));
  return { lines: lines.length ? lines : ["no settings"], rest: all.length - shown.length };
}

function wrap(text, length) {
  const lines = [];
  let left = text;
  while (left && lines.length < LINES) {
    if (left.length <= length || lines.length === LINES - 1) {
      lines.push(shorten(left, length));
      break;
    }
    const space = left.lastIndexOf(" ", length);
    const end = space > length / 2 ? space : length;
    lines.push(left.slice(0, end));
    left = left.slice(end).trimStart();
  }
  return lines;
}

/** Boxes from left to right, in as many rows as needed. */
export function pipeline(blocks, available) {
  const columns = Math.max(1, Math.min(blocks.length, Math.floor((available + BOX.gapX) / (BOX.least + BOX.gapX))));
  const boxWidth = Math.min(BOX.most, Math.floor((available + BOX.gapX) / columns) - BOX.gapX);
  const length = Math.floor((boxWidth - 2 * BOX.pad) / BOX.glyph);
  const texts = blocks.map((block) => tellingLines(block.settings, length));
  const boxHeight = BOX.top + BOX.line * Math.max(...texts.map(({ lines }) => lines.length));
  const place = (index) => ({
    x: 1 + (index % columns) * (boxWidth + BOX.gapX),
    y: 1 + Math.floor(index / columns) * (boxHeight + BOX.gapY),
  });
  const width = columns * (boxWidth + BOX.gapX) - BOX.gapX + 2;
  const height = place(blocks.length - 1).y + boxHeight + 1;
  const drawing = svg("svg", { class: "pipeline", role: "img", width, height, viewBox: `0 0 ${width} ${height}` },
    svg("title", {}, `Pipeline of ${count(blocks.length, "block")}`),
    svg("desc", {}, blocks.map((block) => block.block).join(", then ")));
  blocks.forEach((block, index) => {
    const { x, y } = place(index);
    const { lines, rest } = texts[index];
    const settings = [...leaves(block.settings)].map(([path, value]) => `${path}: ${value}`).join("\n");
    if (index) {
      drawing.append(svg("path", { class: "arrow", d: arrow(place(index - 1), { x, y }, boxWidth, boxHeight) }));
    }
    // A nested <svg> clips text that is wider than expected, such as full-width letters.
    drawing.append(svg("rect", { class: "box", x, y, width: boxWidth, height: boxHeight, rx: 6 }),
      svg("svg", { x, y, width: boxWidth - 4, height: boxHeight },
        svg("title", {}, settings || block.block),
        svg("text", { class: "block", x: BOX.pad, y: 24 }, shorten(`${index + 1}  ${block.block}`, length - 8)),
        svg("text", { class: "rest", x: boxWidth - BOX.pad, y: 24 }, rest ? `+ ${rest} more` : ""),
        ...lines.map((line, row) =>
          svg("text", { class: "setting", x: BOX.pad, y: BOX.top + row * BOX.line }, line))));
  });
  return drawing;
}

/** From one box to the next: to its right, or from the end of a row to the start of the next row. */
function arrow(from, to, boxWidth, boxHeight) {
  if (from.y === to.y) {
    const [y, tip] = [from.y + boxHeight / 2, to.x - 3];
    return `M${from.x + boxWidth + 3} ${y}H${tip}m-6-4l6 4l-6 4`;
  }
  const [tip, middle] = [to.y - 3, from.y + boxHeight + BOX.gapY / 2];
  const [start, end] = [from.x + boxWidth / 2, to.x + boxWidth / 2];
  return `M${start} ${from.y + boxHeight + 3}V${middle}H${end}V${tip}m-4-6l4 6l4-6`;
}

/** The pipeline, drawn again whenever its width changes. */
export function pipelinePanel(blocks) {
  const panel = el("div", { class: "chain" });
  if (!blocks.length) {
    panel.append(el("p", { class: "quiet" }, "This flow has no blocks."));
    return panel;
  }
  let drawn = 0;
  new ResizeObserver(() => {
    const width = Math.floor(panel.clientWidth) - 2;
    if (width <= 0 || width === drawn) return;
    drawn = width;
    panel.replaceChildren(pipeline(blocks, width));
  }).observe(panel);
  return panel;
}
