// Building blocks of the report and of the page in Airflow. Data reaches the page as text nodes and as values of
// attributes, never as markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** An HTML element with attributes and children; a text as a child becomes a text node. */
export const el = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);

/** An SVG element with attributes and children. */
export const svg = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

export const number = (value) => value.toLocaleString("en");

/** A number with its noun: "1 flow", "2,000 flows". */
export const count = (value, noun) => `${number(value)} ${noun}${value === 1 ? "" : "s"}`;

export const shorten = (text, length) => (text.length <= length ? text : `${text.slice(0, length - 1).trimEnd()}…`);

/** A time in UTC, given in milliseconds since the epoch; its first `length` characters are shown. */
export function time(ms, length = 16) {
  const date = new Date(Number(ms));
  if (Number.isNaN(date.getTime())) return el("span", {}, `${ms} ms`);
  const iso = date.toISOString();
  return el("time", { datetime: iso, title: `${iso.slice(0, 19).replace("T", " ")} UTC` },
    iso.slice(0, length).replace("T", " "));
}

/** One fact of a `<dl class="facts">`. */
export const fact = (label, ...value) => el("div", {}, el("dt", {}, label), el("dd", {}, ...value));

/** A name that may be thousands of characters long: a few lines of it, and the whole on demand. */
export const clamped = (name) => el("bdi", { class: "clamped", title: name }, name);

/** Attributes as a list of nodes. */
export const attributeList = (attributes) => Object.entries(attributes).map(([key, value]) =>
  el("span", { class: "attribute" }, el("b", {}, key), "=", el("bdi", {}, value)));
