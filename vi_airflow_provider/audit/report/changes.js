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

// What can become a formula in a spreadsheet, by the rule of tabular.py, where the reasons are.
const SIGNS = "=+@\\uff1d\\uff0b\\uff0d\\uff20\\ufe66\\ufe62\\ufe63\\ufe6b\\-";
const SEPARATORS = ";\\n\\v\\f\\r\\x1c-\\x1e\\x85\\u2028\\u2029";
const CUT_OFF = "[\\s\\x00-\\x1f\\x7f\\x85\\xad\\u061c\\u180e\\u200b-\\u200f\\u202a-\\u202e\\u2060-\\u206f\\ufe00-\\ufe0f\\ufeff\"]";
const SIGN = new RegExp(`(?:^|(?<=;)|(?<!${CUT_OFF})(?=${CUT_OFF}))(${CUT_OFF}*)([${SIGNS}])`, "g");
const BEGINS = new RegExp(`(?<=[\\t${SEPARATORS}])`, "g");
const BLANK = new RegExp(`^(?=[\\t\\r\\n])|(?<=[${SEPARATORS}])(?="*\\t)`, "g");

/** Text with a quote wherever a spreadsheet, or a program that splits at other characters, would read a formula. */
const asText = (text) => text.replace(SIGN, (_, before, sign, at, whole) => {
  const first = at === 0 || whole[at - 1] === ";" ? "'" : "";
  return `${first}${before.replace(BEGINS, "'")}${sign}`;
}).replace(BLANK, "'");

/** A cell of a csv. */
const cell = (text) => `"${asText(text).replaceAll('"', '""')}"`;

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
