// Shows the flows or runs in the page's JSON. The state is kept in the address
// (#q=weld&sort=-updated&expand=ID&theme=dark), so that a view can be linked to.

import { changeList, changesCsv } from "./changes.js";
import { el } from "./dom.js";
import { DEFAULT_SORT, flowTable } from "./flows.js";
import { DEFAULT_RUN_SORT, comparison, runTable, usualMetric } from "./runs.js";

const $ = (id) => document.getElementById(id);

const documents = JSON.parse($("data").textContent);
const ofRuns = $("explorer").dataset.noun === "run";
const defaultSort = ofRuns ? DEFAULT_RUN_SORT : DEFAULT_SORT;
const state = { query: "", sort: defaultSort, open: new Set(), theme: "" };
const table = ofRuns ? drawRuns() : drawFlows();
offerChanges();

/** What changed in a document, for the top of its row. */
function extra({ changes }) {
  return changes ? [changeList(changes)] : [];
}

/** Offer the changes as a file, which is made here: the page fetches nothing. */
function offerChanges() {
  const removed = [...document.querySelectorAll(".removed-flow > summary")].map((node) => ({
    id: node.querySelector(".id").textContent, name: node.querySelector(".name").textContent,
  }));
  const named = documents.filter(({ change }) => change).map((each) => ({ ...each, name: each.spec.name }));
  if (!named.length && !removed.length) return;
  const link = el("a", { href: "#changes", download: "changes.csv" }, "Download the changes as CSV");
  link.addEventListener("click", () => {
    const text = changesCsv(ofRuns ? "run" : "flow", named, removed);
    if (link.href.startsWith("blob:")) URL.revokeObjectURL(link.href);
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  });
  $("download").append(link);
  $("download").hidden = false;
}

function drawFlows() {
  const specs = new Map();
  const flows = documents.map(({ spec, ...flow }) => {
    specs.set(flow.id, spec);
    return { ...flow, name: spec.name, project: spec.trainingProject ?? "", blocks: spec.blocks.length };
  });
  return flowTable($("explorer"), { flows, state, spec: (flow) => specs.get(flow.id), extra, onChange: writeHash });
}

function drawRuns() {
  const runs = documents.map((run) => ({ ...run, name: run.spec.name }));
  state.metric = usualMetric(runs);
  $("comparison").hidden = !comparison($("compared"), { runs, metric: state.metric });
  return runTable($("explorer"), { runs, state, extra, onChange: writeHash });
}

// --- the address ----------------------------------------------------------------------------------------------------

function writeHash() {
  const parameters = new URLSearchParams();
  if (state.query) parameters.set("q", state.query);
  if (state.sort !== defaultSort) parameters.set("sort", state.sort);
  for (const id of state.open) parameters.append("expand", id);
  if (state.theme) parameters.set("theme", state.theme);
  history.replaceState(null, "", `#${parameters}`);
}

/** Read the state from the address; an address without state, like #added, leaves it unchanged. */
function readHash() {
  const parameters = new URLSearchParams(location.hash.slice(1));
  if (!["q", "sort", "expand", "theme"].some((key) => parameters.has(key))) return false;
  const sort = parameters.get("sort") ?? "";
  state.query = parameters.get("q") ?? "";
  state.sort = table.isSortable(sort) ? sort : defaultSort;
  state.open = new Set(parameters.getAll("expand"));
  if (parameters.has("theme")) setTheme(parameters.get("theme"));
  return true;
}

// --- light and dark -------------------------------------------------------------------------------------------------

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

// --- the start ------------------------------------------------------------------------------------------------------

$("theme").addEventListener("click", () => {
  setTheme(other());
  writeHash();
});
systemIsDark.addEventListener("change", labelTheme);
addEventListener("hashchange", () => {
  if (!readHash()) return;
  table.render();
  table.showOpened();
});
// On paper nothing can be scrolled or opened.
addEventListener("beforeprint", () => {
  table.showAll();
  for (const folded of document.querySelectorAll(".changes details")) folded.open = true;
});

labelTheme();
readHash();
$("theme").hidden = false;
$("explorer").hidden = false;
table.render();
table.showOpened();
