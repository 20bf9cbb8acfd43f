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
    this.path = location.pathname;
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
    // After "Back" and "Forward"; Airflow's router may also mount the page again.
    addEventListener("popstate", () => this.readAddress(), { signal });
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
    try {
      this.setOptions(await connectionIds(this.signal));
    } catch (error) {
      if (this.signal.aborted) return;
      const refused = "You may not read connections in Airflow, so this page can show you only what Airflow shows you.";
      this.note.replaceChildren(problem(error, { refused, retry: () => this.offerConnections() }));
    }
  }

  setOptions(ids) {
    this.picker.replaceChildren(...ids.map((id) => el("option", { value: id }, id)));
    this.pick();
  }

  /** Let the picker show the connection, which need not be among those that are offered. */
  pick() {
    const id = this.connection;
    if (![...this.picker.options].some((option) => option.value === id)) {
      this.picker.prepend(el("option", { value: id }, id));
    }
    this.picker.value = id;
    this.picker.disabled = this.picker.options.length < 2;
  }

  readAddress() {
    if (location.pathname !== this.path) return; // another page of Airflow, whose router will end this one
    const parameters = new URLSearchParams(location.search);
    if (String(parameters) === String(this.parameters)) return;
    this.parameters = parameters;
    this.show({});
  }

  /**
   * Show a view, or the same view of another connection; what belonged to the previous one leaves the address.
   *
   * @param also further values of the address
   */
  show({ tab, connection, also = {} }) {
    const [shown] = this.current;
    if (tab || connection) {
      const conn = connection ?? this.connection;
      const kept = tab && tab !== shown ? [] : [...this.parameters];
      this.parameters = new URLSearchParams(kept);
      this.write({ tab: tab ?? shown, conn, open: [], ...also }, { push: tab !== shown || connection !== undefined });
    }
    this.pick();
    const [key, , view] = this.current;
    for (const each of this.tabs) {
      const selected = each.id === `tab-${key}`;
      each.setAttribute("aria-selected", String(selected));
      each.tabIndex = selected ? 0 : -1;
      if (selected) each.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
    this.panel.setAttribute("aria-labelledby", `tab-${key}`);
    this.view?.destroy();
    this.panel.replaceChildren();
    this.view = view(this.panel, {
      connection: this.connection,
      parameters: this.parameters,
      write: (values) => this.write(values),
      show: (wanted) => this.show(wanted),
    });
  }

  /** Write values into the address; empty ones leave it. Another view or connection is a step to go back from. */
  write(values, { push = false } = {}) {
    for (const [name, value] of Object.entries(values)) {
      this.parameters.delete(name);
      for (const each of [value].flat()) if (each) this.parameters.append(name, each);
    }
    const query = String(this.parameters);
    // Airflow's router has its own state in the history: it counts the steps in `idx`.
    const address = `${location.pathname}${query && "?"}${query}${location.hash}`;
    const { idx } = history.state ?? {};
    if (push) history.pushState(idx === undefined ? history.state : { ...history.state, idx: idx + 1 }, "", address);
    else history.replaceState(history.state, "", address);
  }
}
