// What Airflow's UI imports: a component that opens a shadow root and mounts the page in it. There is no build step, and
// of Airflow's UI it uses React's createElement, useEffect and useRef alone.

import { mount } from "./page.js";

const { createElement, useEffect, useRef } = globalThis.React;

function Page() {
  const place = useRef(null);
  useEffect(() => {
    const host = place.current;
    return mount(host.shadowRoot ?? host.attachShadow({ mode: "open" }));
  }, []);
  return createElement("div", { ref: place, "data-testid": "datature-vi" });
}

// Airflow looks for the name of the page first, then for this one.
globalThis.AirflowPlugin = Page;
