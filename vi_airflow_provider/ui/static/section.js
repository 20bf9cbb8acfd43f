// A part of the page that loads by itself, and deals by itself with refusal, error, emptiness and slowness.

import { el, number } from "./dom.js";

const SHOW_AFTER_MS = 200; // a faster response needs no progress
const TICK_MS = 700;
const SLOW_S = 8;

/**
 * Draw a section into `root`, and load it.
 *
 * @param title its heading
 * @param load `({signal, refresh})` returns a promise of the data
 * @param draw `(data, place)` draws the data into an element
 * @param busy what is being read, like "flows"
 * @param progress returns a promise of how many items have been read, or of null
 * @param patience whether the page's API, which gives up after a time, is read
 * @param refused what a reader without the right is shown
 * @returns `{destroy}`
 */
export function section(root, { title, load, draw, busy, progress, patience = false, refused, note = "" }) {
  let current = new AbortController();
  const refresh = el("button", { type: "button", class: "button small" }, "Refresh");
  const age = el("span", { class: "quiet age" });
  const status = el("div", { class: "notice", role: "status" });
  const place = el("div", { class: "place" });
  const whole = el("section", { "aria-label": title },
    el("div", { class: "heading" }, el("h2", {}, title), note ? el("p", { class: "quiet" }, note) : "", age, refresh),
    status, place);
  root.append(whole);

  async function reload({ fresh = true } = {}) {
    current.abort();
    const mine = current = new AbortController();
    whole.setAttribute("aria-busy", "true");
    const stop = showProgress(status, { busy, progress, patience, signal: mine.signal });
    try {
      const data = await load({ signal: mine.signal, refresh: fresh });
      if (mine.signal.aborted) return;
      stop();
      status.replaceChildren();
      place.replaceChildren();
      draw(data, place);
      age.textContent = `read at ${clock(data?.read_at)}`;
    } catch (error) {
      stop();
      if (mine.signal.aborted) return;
      place.replaceChildren();
      status.replaceChildren(problem(error, { refused, retry: reload }));
      if (!Number.isInteger(error.status)) console.error(error);
    } finally {
      if (!mine.signal.aborted) whole.setAttribute("aria-busy", "false");
    }
  }

  refresh.addEventListener("click", () => reload());
  reload({ fresh: false });
  return {
    destroy() {
      current.abort();
      whole.remove();
    },
  };
}

// In UTC, as all times of the page.
const clock = (ms) => `${new Date(ms ?? Date.now()).toISOString().slice(11, 19)} UTC`;

/** Buttons of which one is chosen; `options` are `[value, label, …further nodes]`. */
export function chips(label, options, current, choose) {
  const element = el("div", { class: "chips", role: "group", "aria-label": label });
  const buttons = options.map(([value, ...content]) => {
    const chip = el("button", { type: "button" }, ...content);
    chip.addEventListener("click", () => {
      choose(value);
      update();
    });
    return [value, chip];
  });
  element.append(...buttons.map(([, chip]) => chip));
  function update() {
    for (const [value, chip] of buttons) chip.setAttribute("aria-pressed", String(value === current()));
  }
  update();
  return { element, update };
}

/** Show what is being read, for how long, and how much of it; returns a function that stops. */
export function showProgress(status, { busy, progress, patience, signal }) {
  const start = Date.now();
  const text = el("span");
  const bar = el("p", { class: "busy" }, el("span", { class: "spinner", "aria-hidden": "true" }), text);
  let read = null;
  let asking = false;
  const tick = async () => {
    const seconds = Math.round((Date.now() - start) / 1000);
    const parts = [`Reading ${busy} …`];
    if (read !== null) parts.push(`${number(read)} so far.`);
    if (seconds >= SLOW_S) {
      parts.push(`${seconds} s: ${patience ? "Vi responds slowly; at 25 s the page gives up." : "Airflow responds slowly."}`);
    }
    text.textContent = parts.join(" ");
    if (!bar.isConnected) status.replaceChildren(bar);
    if (!progress || asking) return;
    asking = true;
    read = await progress(signal).catch(() => null);
    asking = false;
  };
  const first = setTimeout(tick, SHOW_AFTER_MS);
  const ticking = setInterval(tick, TICK_MS);
  return () => {
    clearTimeout(first);
    clearInterval(ticking);
    bar.remove();
  };
}

/** Say why there is nothing to show, and what to do. */
export function problem(error, { refused, retry }) {
  const again = el("button", { type: "button", class: "button small" }, "Try again");
  again.addEventListener("click", () => retry());
  const [kind, text] = explain(error, refused);
  return el("div", { class: `problem ${kind}`, role: "alert" }, el("p", {}, text), kind === "refused" ? "" : again);
}

function explain(error, refused) {
  if (error.status === 401) return ["error", "Your session has ended. Reload the page and log in."];
  if (error.status === 403) return ["refused", refused ?? "You do not have the right to see this in Airflow."];
  if (Number.isInteger(error.status)) return ["error", error.message];
  return ["error", `The page failed: ${error.message}`];
}

/** What is shown instead of an empty list. */
export const nothing = (text) => el("p", { class: "quiet nothing" }, text);
