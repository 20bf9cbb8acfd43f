// The page: which connection, which view, and the address that describes both, so that a view can be shared.

import { el } from "./dom.js";
import { connectionIds } from "./airflow.js";
import { problem } from "./section.js";
import { cleanupView } from "./cleanup.js";
import { flowsView } from "./explorer.js";
import { historyView } from "./history.js";
import { waitingView } from "./waiting.js";

const VIEWS = [
  ["flows", "Flows", flowsView],
  ["cleanup", "Cleanup preview", cleanupView],
  ["waiting", "Gates and runs", waitingView],
  ["history", "Audit and archives", historyView],
];
const STYLES = ["flows.css", "vi.css"];

/** Mount the page into a shadow root; returns a function that removes it and ends its requests. */
export function mount(root) {
  const ending = new AbortController();
  const main = el("main");
  root.replaceChildren(...STYLES.map(style), main);
  whenStyled(root).then(() => {
    if (!ending.signal.aborted) new Page(main, ending.signal);
  });
  return () => {
    ending.abort();
    root.replaceChildren();
  };
}

const style = (name) => {
  const version = new URL(import.meta.url).search;
  return el("link", { rel: "stylesheet", href: new URL(`${name}${version}`, import.meta.url).href });
};

/** Text without its style would flash; a style that cannot be loaded must not hide the page. */
const whenStyled = (root) => Promise.all([...root.querySelectorAll("link")].map((link) =>
  new Promise((done) => {
    link.addEventListener("load", done);
    link.addEventListener("error", done);
  })));

class Page {
  constructor(root, signal) {
    this.parameters = new URLSearchParams(location.search);
    this.signal = signal;
    this.picker = el("select", { id: "connection", disabled: "" });
    this.note = el("div");
    this.tabs = VIEWS.map(([key, label]) => this.tab(key, label));
    this.panel = el("div", { role: "tabpanel", id: "panel", tabindex: "-1" });
    root.append(
      el("header", {},
        el("h1", {}, "Datature Vi"),
        el("div", { class: "picker" }, el("label", { for: "connection" }, "Connection"), this.picker)),
      this.note,
      el("div", { role: "tablist", "aria-label": "Views" }, ...this.tabs),
      this.panel);
    this.picker.addEventListener("change", () => this.show({ connection: this.picker.value }));
    signal.addEventListener("abort", () => this.view?.destroy());
    this.show({});
    this.offerConnections();
  }

  get connection() {
    return this.parameters.get("conn") || "vi_default";
  }

  get current() {
    const wanted = this.parameters.get("tab");
    return VIEWS.find(([key]) => key === wanted) ?? VIEWS[0];
  }

  tab(key, label) {
    const tab = el("button", { type: "button", role: "tab", id: `tab-${key}`, "aria-controls": "panel" }, label);
    tab.addEventListener("click", () => this.show({ tab: key }));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      const end = { Home: 0, End: VIEWS.length - 1 }[event.key];
      if (step === undefined && end === undefined) return;
      event.preventDefault();
      const next = end ?? (VIEWS.findIndex(([each]) => each === key) + step + VIEWS.length) % VIEWS.length;
      this.show({ tab: VIEWS[next][0] });
      this.tabs[next].focus();
    });
    return tab;
  }

  async offerConnections() {
    this.setOptions([this.connection]);
    try {
      const ids = await connectionIds(this.signal);
      this.setOptions(ids.includes(this.connection) ? ids : [this.connection, ...ids]);
    } catch (error) {
      if (this.signal.aborted) return;
      const refused = "You may not read connections in Airflow, so this page can show you only what Airflow shows you.";
      this.note.replaceChildren(problem(error, { refused, retry: () => this.offerConnections() }));
    }
  }

  setOptions(ids) {
    this.picker.replaceChildren(...ids.map((id) => el("option", { value: id }, id)));
    this.picker.value = this.connection;
    this.picker.disabled = ids.length < 2;
  }

  /** Show a view, or the same view of another connection; what belonged to the previous one leaves the address. */
  show({ tab, connection }) {
    const [shown] = this.current;
    if (tab || connection) {
      const conn = connection ?? this.connection;
      const kept = tab && tab !== shown ? [] : [...this.parameters];
      this.parameters = new URLSearchParams(kept);
      this.write({ tab: tab ?? shown, conn, open: [] });
    }
    const [key, , view] = this.current;
    for (const each of this.tabs) {
      const selected = each.id === `tab-${key}`;
      each.setAttribute("aria-selected", String(selected));
      each.tabIndex = selected ? 0 : -1;
    }
    this.panel.setAttribute("aria-labelledby", `tab-${key}`);
    this.view?.destroy();
    this.panel.replaceChildren();
    this.view = view(this.panel, {
      connection: this.connection,
      parameters: this.parameters,
      write: (values) => this.write(values),
    });
  }

  /** Write values into the address; empty ones leave it. */
  write(values) {
    for (const [name, value] of Object.entries(values)) {
      this.parameters.delete(name);
      for (const each of [value].flat()) if (each) this.parameters.append(name, each);
    }
    const query = String(this.parameters);
    // Airflow's router has its own state in the history, which stays as it is.
    history.replaceState(history.state, "", `${location.pathname}${query && "?"}${query}${location.hash}`);
  }
}
