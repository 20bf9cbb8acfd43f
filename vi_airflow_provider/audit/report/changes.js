// What has changed: the values of one document, and all changes as a file for a spreadsheet.

import { el, shorten } from "./dom.js";

const LONG = 120;
const ABSENT = "(absent)";

function value(tag, aloud, text) {
  const whole = el("code", {}, text);
  const shown = text === ABSENT ? el("em", {}, "absent")
    : text.length <= LONG ? whole
      : el("details", {}, el("summary", {}, el("code", {}, shorten(text, LONG))), whole);
  return el(tag, {}, el("span", { class: "aloud" }, `${aloud} `), shown);
}

/** The values that differ, `[path, old, new]` each, as a list. */
export const changeList = (changes) => el("ul", { class: "values" }, ...changes.map(([path, old, now]) =>
  el("li", {}, el("code", { class: "path" }, path),
    el("div", { class: "value" }, value("del", "was", old),
      el("span", { class: "arrow", "aria-hidden": "true" }, "→"), value("ins", "now", now)))));

/** A cell of a csv. A leading quote keeps a spreadsheet from taking a text for a formula. */
const cell = (text) => `"${(/^[\s\p{Cf}"']*[=+\-@＝＋－＠]|^[\t\r\n]/u.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;

/**
 * The changes as a csv, one value per line.
 *
 * @param documents `{id, name, change, changes}` of each document
 * @param removed `{id, name}` of those that are gone
 */
export function changesCsv(noun, documents, removed) {
  const lines = [["change", `${noun}_id`, "name", "path", "old", "new"]];
  for (const { id, name, change, changes } of documents) {
    if (change === "added") lines.push([change, id, name, "", "", ""]);
    for (const [path, old, now] of changes ?? []) lines.push([change, id, name, path, old, now]);
  }
  for (const { id, name } of removed) lines.push(["removed", id, name, "", "", ""]);
  return `\ufeff${lines.map((line) => `${line.map(cell).join(",")}\r\n`).join("")}`;
}
