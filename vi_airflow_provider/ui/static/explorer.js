// The view "Flows": a table that can be searched, sorted, filtered and opened, drawn by the code of the audit report.

import { count, el, number, shorten } from "./dom.js";
import { DEFAULT_SORT, emptyState, flowTable } from "./flows.js";
import { vi } from "./airflow.js";
import { nothing, section } from "./section.js";

const DAY_MS = 86_400_000;
const MOST_ATTRIBUTES = 200;
const NO_PROJECT = "(none)"; // no id of a project has parentheses
const AGES = [
  ["", "any age"], ["<7", "updated in the last 7 days"], ["<30", "updated in the last 30 days"],
  [">30", "not updated for 30 days"], [">90", "not updated for 90 days"], [">180", "not updated for 180 days"],
  [">365", "not updated for a year"],
];

export function flowsView(root, { connection, parameters, write }) {
  const api = (parts, query, signal) => vi(["connections", connection, ...parts], query, signal);
  const state = { ...emptyState(), query: parameters.get("q") ?? "", open: new Set(parameters.getAll("open")) };
  const filters = Object.fromEntries(["project", "attribute", "age"].map((name) => [name, parameters.get(name) ?? ""]));
  let table;
  let isFirst = true;

  const remember = () => write({
    q: state.query, sort: state.sort === DEFAULT_SORT ? "" : state.sort, open: [...state.open], ...filters,
  });

  function draw({ flows, complete, organization_id: organization, organization_url: url }, place) {
    table?.destroy();
    const shows = isFirst;
    isFirst = false;
    if (!flows.length) {
      place.append(nothing(`The organization ${organization} has no flows.`));
      return;
    }
    const now = Date.now();
    const shown = () => flows.filter((flow) => matches(flow, filters, now));
    const explorer = el("div", { class: "explorer" });
    place.append(
      filterBar(flows, filters, () => {
        table.replaceRows(shown());
        remember();
      }),
      complete ? "" : el("p", { class: "caveat", role: "note" },
        `Only the first ${count(flows.length, "flow")} are shown: the organization has more.`),
      explorer,
      el("p", { class: "quiet" }, "Organization ", el("a", { href: url, target: "_blank", rel: "noopener" }, organization)));
    table = flowTable(explorer, {
      flows: shown(),
      state,
      spec: (flow) => api(["flows", flow.id]).then((read) => read.spec),
      extra: (flow) => [el("p", { class: "actions" },
        el("a", { class: "button", href: flow.url, target: "_blank", rel: "noopener" }, "Open in Vi"))],
      onChange: remember,
    });
    const sort = parameters.get("sort") ?? "";
    if (table.isSortable(sort)) state.sort = sort;
    table.render();
    // Once, for a shared address: a refresh must not move the reader.
    if (shows) table.showOpened();
  }

  const part = section(root, {
    title: "Flows",
    busy: "flows",
    patience: true,
    refused: `Flows are shown to those who may read the connection ${connection} in Airflow. You may not.`,
    load: ({ signal, refresh }) => api(["flows"], refresh ? { refresh } : {}, signal),
    progress: (signal) => api(["progress"], {}, signal).then(({ read }) => read),
    draw,
  });
  return {
    destroy() {
      table?.destroy();
      part.destroy();
    },
  };
}

function matches(flow, { project, attribute, age }, now) {
  if (project && flow.project !== (project === NO_PROJECT ? "" : project)) return false;
  if (attribute && !Object.entries(flow.attributes).some(([key, value]) => `${key}=${value}` === attribute)) return false;
  if (!age) return true;
  const days = (now - Number(flow.updated)) / DAY_MS;
  const limit = Number(age.slice(1));
  return age.startsWith("<") ? days < limit : days >= limit;
}

function filterBar(flows, filters, onChange) {
  const projects = counted(flows.map((flow) => flow.project || NO_PROJECT));
  const all = counted(flows.flatMap((flow) =>
    Object.entries(flow.attributes).map(([key, value]) => `${key}=${value}`)));
  // Ids and tickets would crowd out what many flows have in common.
  const attributes = byName([...all].sort(([, a], [, b]) => b - a).slice(0, MOST_ATTRIBUTES));
  const rest = all.length - attributes.length;
  const option = ([value, flowCount]) => [value, `${shorten(value, 60)} (${number(flowCount)})`];
  return el("div", { class: "filters" },
    choice("Training project", "project", [["", "all projects"], ...byName(projects).map(option)], filters, onChange),
    choice("Attribute", "attribute", [["", "all attributes"], ...attributes.map(option)], filters, onChange,
      rest ? `${number(rest)} rarer ones: use the search` : ""),
    choice("Age", "age", AGES, filters, onChange));
}

const byName = (counts) => counts.sort(([a], [b]) => a.localeCompare(b));

/** The values and how often they occur. */
function counted(values) {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts];
}

function choice(label, name, options, filters, onChange, omitted = "") {
  const known = options.some(([value]) => value === filters[name]);
  const all = known ? options : [...options, [filters[name], `${filters[name]} (0)`]];
  const select = el("select", { "aria-label": label }, ...all.map(([value, text]) => el("option", { value }, text)),
    omitted ? el("option", { disabled: "" }, omitted) : "");
  select.value = filters[name];
  select.addEventListener("change", () => {
    filters[name] = select.value;
    onChange();
  });
  return select;
}
