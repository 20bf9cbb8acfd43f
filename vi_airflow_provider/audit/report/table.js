// A table of documents that can be searched, sorted and opened row by row. It draws into the element that it is given,
// changes the state that it is given, and reports each change: addresses, themes and data belong to the caller.

import { count, el, number } from "./dom.js";

const CHUNK = 100; // rows added at a time: laying out 5,000 at once takes seconds
const DEBOUNCE_MS = 120;
const collator = new Intl.Collator("en", { numeric: true });

/**
 * Draw a table into `root`.
 *
 * @param root the element that the table is appended to
 * @param noun what a row is, in the singular
 * @param hint what can be searched, for the search field
 * @param columns `{key, label, note, kind, cell}` of each column: a column with a `key` can be sorted by this member of
 *   a row, as text if `textual`; `kind` is the class of its cells, `cell(row)` their nodes; the first opens the row
 * @param rows `{id, haystack, change, …}` of each row: `haystack` is the text that is searched, in lower case, and
 *   `change` a tag like "added"
 * @param state `{query, sort, open}`: the search, the key of a column (with a leading "-" from the greatest to the
 *   least), and a set of the ids of the rows that are open
 * @param details returns the nodes of an open row
 * @param onChange is called after the reader has changed the state
 * @returns `{render, replaceRows, showOpened, showAll, isSortable, destroy}`
 */
export function dataTable(root, { noun, hint, columns, rows, state, details, onChange = () => {} }) {
  let all = rows;
  let selected = [];
  let rendered = 0;
  let waiting;

  const label = `Search ${hint}`;
  const search = el("input", {
    class: "search", type: "search", placeholder: label, "aria-label": label, autocomplete: "off", spellcheck: "false",
  });
  const status = el("p", { class: "status quiet", role: "status" });
  const headers = columns.map((column) => header(column));
  const body = el("tbody");
  const more = el("button", { type: "button" });
  root.append(
    el("div", { class: "tools" }, search, status),
    el("table", {}, el("thead", {}, el("tr", {}, ...headers)), body),
    el("p", { class: "more" }, more));

  function header({ key, label: text, note, kind, textual }) {
    const content = note ? [`${text} `, el("small", {}, note)] : [text];
    if (!key) return el("th", { scope: "col", class: kind ?? "" }, ...content);
    const button = el("button", { type: "button" }, ...content);
    button.addEventListener("click", () => {
      // Text is sorted from A first; numbers and times from the greatest.
      const [first, second] = textual ? [key, `-${key}`] : [`-${key}`, key];
      state.sort = state.sort === first ? second : first;
      render();
      onChange(state);
    });
    return el("th", { scope: "col", "data-sort": key, class: kind ?? "" }, button);
  }

  /** The rows that match every word of the query, sorted; ties keep the order in which they were given. */
  function select() {
    const words = state.query.toLowerCase().split(/\s+/).filter(Boolean);
    const key = state.sort.replace(/^-/, "");
    const sign = state.sort.startsWith("-") ? -1 : 1;
    const compare = columns.find((column) => column.key === key)?.textual
      ? (a, b) => sign * collator.compare(a[key], b[key])
      : (a, b) => sign * (Number(a[key]) - Number(b[key]));
    return all.filter((row) => words.every((word) => row.haystack.includes(word))).sort(compare);
  }

  function draw(row, index) {
    const id = `${noun}-${index}`;
    const [first, ...others] = columns;
    const name = el("button", { type: "button", "aria-expanded": "false", "aria-controls": id }, ...first.cell(row));
    const main = el("tr", { class: "row" },
      el("td", {}, name, row.change ? el("span", { class: `tag ${row.change}` }, row.change) : "",
        el("code", { class: "id" }, row.id)),
      ...others.map((column) => el("td", { class: column.kind ?? "" }, ...column.cell(row))));
    const detail = el("tr", { class: "detail", id, hidden: "" });
    const toggle = (open) => {
      name.setAttribute("aria-expanded", String(open));
      detail.hidden = !open;
      if (open && !detail.hasChildNodes()) detail.append(el("td", { colspan: columns.length }, ...details(row)));
      state.open[open ? "add" : "delete"](row.id);
    };
    main.addEventListener("click", (event) => {
      // Selecting a text, or using a control of the row, is not a request to open it.
      const control = event.target.closest("a, button, input, select");
      if (control ? control !== name : String(getSelection())) return;
      toggle(detail.hidden);
      onChange(state);
    });
    if (state.open.has(row.id)) toggle(true);
    return [main, detail];
  }

  function renderUpTo(end) {
    const stop = Math.min(Math.max(end, 0), selected.length);
    if (stop > rendered) {
      const start = rendered;
      body.append(...selected.slice(start, stop).flatMap((row, offset) => draw(row, start + offset)));
    }
    rendered = Math.max(rendered, stop);
    const left = selected.length - rendered;
    more.hidden = left === 0;
    more.textContent = `Show ${Math.min(CHUNK, left)} more of ${number(left)}`;
  }

  function render() {
    selected = select();
    rendered = 0;
    body.replaceChildren();
    if (search.value.trim() !== state.query) search.value = state.query;
    renderUpTo(CHUNK);
    status.textContent = selected.length === all.length
      ? count(all.length, noun)
      : `${number(selected.length)} of ${count(all.length, noun)}`;
    for (const each of headers) {
      const key = each.dataset.sort;
      if (!key) continue;
      const order = { [key]: "ascending", [`-${key}`]: "descending" }[state.sort] ?? "none";
      each.setAttribute("aria-sort", order);
    }
  }

  /** Bring the first row that is open into view. */
  function showOpened() {
    const [first] = state.open;
    const position = selected.findIndex((row) => row.id === first);
    if (position < 0) return;
    renderUpTo(position + CHUNK);
    const main = body.children[2 * position];
    main.scrollIntoView({ block: "start" });
    main.querySelector("button").focus({ preventScroll: true });
  }

  search.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      state.query = search.value.trim();
      render();
      onChange(state);
    }, DEBOUNCE_MS);
  });
  more.addEventListener("click", () => renderUpTo(rendered + CHUNK));
  const end = new IntersectionObserver((entries) => {
    if (!entries.at(-1).isIntersecting) return;
    renderUpTo(rendered + CHUNK);
    // Only changes are reported: without a new start, the button that comes into view at once is not noticed.
    end.unobserve(more);
    end.observe(more);
  }, { rootMargin: "600px" });
  end.observe(more);

  return {
    render,
    showOpened,
    /** Draw all rows that match, as before printing. */
    showAll: () => renderUpTo(selected.length),
    /** Show other rows. */
    replaceRows(others) {
      all = others;
      render();
    },
    /** Can the table be sorted so? */
    isSortable: (sort) => columns.some((column) => column.key && column.key === sort.replace(/^-/, "")),
    /** Remove the table. */
    destroy() {
      clearTimeout(waiting);
      end.disconnect();
      root.replaceChildren();
    },
  };
}
