// Shows the flows in the page's JSON: search, sort, and a pipeline that is drawn when its row is opened.
// Data of a flow reaches the page as a text node or an attribute's value, never as markup.
// The state is kept in the address (#q=weld&sort=-updated&expand=ID&theme=dark), so that a view can be linked to.
"use strict";
(() => {
  const CHUNK = 100; // rows added at a time: laying out 5,000 at once takes seconds
  const DEBOUNCE_MS = 120;
  const DEFAULT_SORT = "-updated";

  const $ = (id) => document.getElementById(id);
  const SVG = document.querySelector("svg.ages").namespaceURI;
  const fill = (node, attributes, children) => {
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  };
  const el = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
  const svg = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

  // --- the data -----------------------------------------------------------------------------------------------------

  const flows = JSON.parse($("data").textContent).map((flow, index) => ({
    ...flow,
    index,
    name: flow.spec.name,
    project: flow.spec.trainingProject ?? "",
    blocks: flow.spec.blocks.length,
    haystack: [
      flow.spec.name,
      flow.id,
      flow.spec.trainingProject ?? "",
      ...Object.entries(flow.attributes).map(([key, value]) => `${key}=${value}`),
      flow.change && `is:${flow.change}`,
    ].join("\n").toLowerCase(),
  }));

  const collator = new Intl.Collator("en", { numeric: true });
  const TEXTUAL = ["name", "project"];

  /** The flows that match every word of the query, sorted; ties keep the order of the export. */
  function select(query, sort) {
    const words = query.toLowerCase().split(/\s+/).filter(Boolean);
    const key = sort.replace(/^-/, "");
    const sign = sort.startsWith("-") ? -1 : 1;
    const compare = TEXTUAL.includes(key)
      ? (a, b) => sign * collator.compare(a[key], b[key])
      : (a, b) => sign * (Number(a[key]) - Number(b[key]));
    return flows.filter((flow) => words.every((word) => flow.haystack.includes(word))).sort(compare);
  }

  const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

  function isoTime(ms) {
    const date = new Date(Number(ms));
    return Number.isNaN(date.getTime()) ? null : date.toISOString();
  }

  function time(ms, length = 16) {
    const iso = isoTime(ms);
    if (iso === null) return el("span", {}, `${ms} ms`);
    return el("time", { datetime: iso, title: `${iso.slice(0, 19).replace("T", " ")} UTC` },
      iso.slice(0, length).replace("T", " "));
  }

  // --- the pipeline -------------------------------------------------------------------------------------------------

  const BOX = { least: 226, most: 340, top: 46, line: 18, pad: 14, gapX: 44, gapY: 40, glyph: 6.7 };
  // Vi does not document settings; these names are common and the most informative. Others follow in their own order.
  const TELLING = [/(^|\.)name$/, /(^id|Id)$/, /prompt$/i, /epochs$/i, /learning_?rate$/i, /batch_?size$/i, /mode$/i];
  const LINES = 3;

  function* leaves(value, path = "") {
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

  const shorten = (text, length) => (text.length <= length ? text : `${text.slice(0, length - 1).trimEnd()}…`);

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
  function pipeline(blocks, available) {
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

  function pipelinePanel(blocks) {
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

  // --- the table ----------------------------------------------------------------------------------------------------

  const state = { query: "", sort: DEFAULT_SORT, open: new Set(), theme: "" };
  let selected = [];
  let rendered = 0;

  const attributeList = (flow) => Object.entries(flow.attributes).map(([key, value]) =>
    el("span", { class: "attribute" }, el("b", {}, key), "=", el("bdi", {}, value)));

  function row(flow) {
    const name = el("button", { type: "button", "aria-expanded": "false", "aria-controls": `flow-${flow.index}` },
      el("bdi", {}, flow.name || "(no name)"));
    const main = el("tr", { class: "flow" },
      el("td", {}, name, flow.change ? el("span", { class: `tag ${flow.change}` }, flow.change) : "",
        el("code", { class: "id" }, flow.id)),
      el("td", { class: "wide" }, el("bdi", {}, flow.project)),
      el("td", { class: "wide" }, ...attributeList(flow)),
      el("td", { class: "number" }, String(flow.blocks)),
      el("td", { class: "number medium" }, String(flow.generation)),
      el("td", { class: "number medium" }, time(flow.created)),
      el("td", { class: "number" }, time(flow.updated)));
    const detail = el("tr", { class: "detail", id: `flow-${flow.index}`, hidden: "" });
    const toggle = (open) => {
      name.setAttribute("aria-expanded", String(open));
      detail.hidden = !open;
      if (open && !detail.hasChildNodes()) detail.append(el("td", { colspan: 7 }, ...details(flow)));
      state.open[open ? "add" : "delete"](flow.id);
    };
    name.addEventListener("click", () => {
      toggle(detail.hidden);
      writeHash();
    });
    if (state.open.has(flow.id)) toggle(true);
    return [main, detail];
  }

  function details(flow) {
    const { spec } = flow;
    const fact = (label, ...value) => el("div", {}, el("dt", {}, label), el("dd", {}, ...value));
    const tolerations = Object.entries(spec.tolerations ?? {}).map(([key, values]) => `${key}: ${values.join(", ")}`);
    const attributes = attributeList(flow);
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
        el("pre", { tabindex: 0, role: "region", "aria-label": "Spec as JSON" },
          JSON.stringify(spec, null, 2))),
    ];
  }

  function renderUpTo(end) {
    const stop = Math.min(Math.max(end, 0), selected.length);
    if (stop > rendered) $("rows").append(...selected.slice(rendered, stop).flatMap(row));
    rendered = Math.max(rendered, stop);
    const left = selected.length - rendered;
    $("more").hidden = left === 0;
    $("more").textContent = `Show ${Math.min(CHUNK, left)} more of ${left.toLocaleString("en")}`;
  }

  function render() {
    selected = select(state.query, state.sort);
    rendered = 0;
    $("rows").replaceChildren();
    renderUpTo(CHUNK);
    $("status").textContent = selected.length === flows.length
      ? count(flows.length, "flow")
      : `${selected.length.toLocaleString("en")} of ${count(flows.length, "flow")}`;
    for (const header of document.querySelectorAll("th[data-sort]")) {
      const key = header.dataset.sort;
      const order = { [key]: "ascending", [`-${key}`]: "descending" }[state.sort] ?? "none";
      header.setAttribute("aria-sort", order);
    }
  }

  // --- the address --------------------------------------------------------------------------------------------------

  function writeHash() {
    const parameters = new URLSearchParams();
    if (state.query) parameters.set("q", state.query);
    if (state.sort !== DEFAULT_SORT) parameters.set("sort", state.sort);
    for (const id of state.open) parameters.append("expand", id);
    if (state.theme) parameters.set("theme", state.theme);
    history.replaceState(null, "", `#${parameters}`);
  }

  /** Read the state from the address; an address without state, like #added, leaves it unchanged. */
  function readHash() {
    const parameters = new URLSearchParams(location.hash.slice(1));
    if (!["q", "sort", "expand", "theme"].some((key) => parameters.has(key))) return false;
    const sortable = [...document.querySelectorAll("th[data-sort]")].map((header) => header.dataset.sort);
    const sort = parameters.get("sort") ?? "";
    state.query = parameters.get("q") ?? "";
    state.sort = sortable.includes(sort.replace(/^-/, "")) ? sort : DEFAULT_SORT;
    state.open = new Set(parameters.getAll("expand"));
    if (parameters.has("theme")) setTheme(parameters.get("theme"));
    $("search").value = state.query;
    return true;
  }

  function showOpened() {
    const [first] = state.open;
    const position = selected.findIndex((flow) => flow.id === first);
    if (position < 0) return;
    renderUpTo(position + CHUNK);
    const detail = $(`flow-${selected[position].index}`);
    detail.previousElementSibling.scrollIntoView({ block: "start" });
    detail.previousElementSibling.querySelector("button").focus({ preventScroll: true });
  }

  // --- light and dark -----------------------------------------------------------------------------------------------

  const systemIsDark = matchMedia("(prefers-color-scheme: dark)");

  function setTheme(theme) {
    state.theme = ["light", "dark"].includes(theme) ? theme : "";
    if (state.theme) document.documentElement.dataset.theme = state.theme;
    else delete document.documentElement.dataset.theme;
    labelTheme();
  }

  const other = () => ((state.theme || (systemIsDark.matches ? "dark" : "light")) === "dark" ? "light" : "dark");

  function labelTheme() {
    $("theme").textContent = other() === "dark" ? "Dark theme" : "Light theme";
  }

  // --- the start ----------------------------------------------------------------------------------------------------

  let waiting;
  $("search").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      state.query = $("search").value.trim();
      render();
      writeHash();
    }, DEBOUNCE_MS);
  });
  for (const header of document.querySelectorAll("th[data-sort]")) {
    header.firstElementChild.addEventListener("click", () => {
      const key = header.dataset.sort;
      // Text is sorted from A first; numbers and times from the greatest.
      const [first, second] = TEXTUAL.includes(key) ? [key, `-${key}`] : [`-${key}`, key];
      state.sort = state.sort === first ? second : first;
      render();
      writeHash();
    });
  }
  $("more").addEventListener("click", () => renderUpTo(rendered + CHUNK));
  new IntersectionObserver(([seen]) => seen.isIntersecting && renderUpTo(rendered + CHUNK), { rootMargin: "600px" })
    .observe($("more"));
  $("theme").addEventListener("click", () => {
    setTheme(other());
    writeHash();
  });
  systemIsDark.addEventListener("change", labelTheme);
  addEventListener("hashchange", () => {
    if (!readHash()) return;
    render();
    showOpened();
  });
  // On paper nothing can be scrolled or opened.
  addEventListener("beforeprint", () => {
    renderUpTo(selected.length);
    for (const folded of document.querySelectorAll(".changes details")) folded.open = true;
  });

  labelTheme();
  readHash();
  $("theme").hidden = false;
  $("explorer").hidden = false;
  render();
  showOpened();
})();
