// Requests to the page's own API and to Airflow's, with the rights of the reader. All addresses are derived from where
// Airflow is served, so that the page works below any path. Every request only reads.

const OWN = new URL("../api/", import.meta.url);

/** Why a request failed; `status` is 0 without a response. */
export class Problem extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The address of a page of Airflow's UI. */
export const pageUrl = (...parts) =>
  new URL(parts.map(encodeURIComponent).join("/"), document.baseURI).href;

export const taskUrl = ({ dag_id, dag_run_id, task_id, map_index }) =>
  pageUrl("dags", dag_id, "runs", dag_run_id, "tasks", task_id, ...(map_index >= 0 ? ["mapped", map_index] : []));

/** Read from the page's API: `vi(["connections", "vi_default", "flows"], {refresh: true})`. */
export const vi = (parts, query, signal) => read(OWN, parts, query, signal);

/** Read from Airflow's API: `airflow(["connections"], {limit: 100})`. */
export const airflow = (parts, query, signal) => read(new URL("api/v2/", document.baseURI), parts, query, signal);

async function read(base, parts, query = {}, signal) {
  const url = new URL(parts.map((part) => (part === "~" ? part : encodeURIComponent(part))).join("/"), base);
  for (const [name, value] of Object.entries(query)) {
    for (const each of [value].flat()) if (each !== undefined) url.searchParams.append(name, each);
  }
  const token = localStorage.getItem("token"); // before 3.1.1, Airflow's UI keeps it here instead of in a cookie
  const headers = token ? { Authorization: `Bearer ${token.replace(/^"|"$/g, "")}` } : {};
  let response;
  try {
    response = await fetch(url, { headers, signal, credentials: "same-origin" });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem(0, "Airflow's web server cannot be reached.");
  }
  if (!response.ok) throw new Problem(response.status, await detailOf(response));
  return response.json();
}

async function detailOf(response) {
  const body = await response.json().catch(() => null);
  const detail = body?.detail;
  if (typeof detail === "string") return detail;
  return detail ? JSON.stringify(detail) : `The server responded with ${response.status}.`;
}

/** Read the pages of a collection of Airflow's API, up to `most` items; others are counted in `total`. */
async function collection(parts, name, query, most, signal) {
  const items = [];
  let total = 0;
  do {
    const page = await airflow(parts, { ...query, limit: 100, offset: items.length }, signal);
    total = page.total_entries ?? page[name].length;
    if (!page[name].length) break;
    items.push(...page[name]);
  } while (items.length < Math.min(total, most));
  return { items, total };
}

/** The instances of tasks of these classes, the latest first, in all DAGs that the reader may read. */
export async function taskInstances(operators, query, most, signal) {
  const parts = ["dags", "~", "dagRuns", "~", "taskInstances"];
  // Airflow before 3.2 ignores the filter by operator.
  const { items, total } = await collection(parts, "task_instances",
    { operator: operators, order_by: "-start_date", ...query }, most, signal);
  const ours = items.filter((instance) => operators.includes(instance.operator));
  return { items: ours, complete: items.length >= total };
}

/** The value of an XCom of a task instance; `null` if there is none. */
export async function xcom({ dag_id, dag_run_id, task_id, map_index }, key, signal) {
  const parts = ["dags", dag_id, "dagRuns", dag_run_id, "taskInstances", task_id, "xcomEntries", key];
  try {
    const { value } = await airflow(parts, { map_index, stringify: false }, signal);
    return typeof value === "string" ? parsed(value) : value;
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** The ids of the connections of type `vi`: those that Airflow lists, those of the configuration, and the default. */
export async function connectionIds(signal) {
  const [listed, known] = await Promise.allSettled([
    collection(["connections"], "connections", {}, 1000, signal),
    vi(["connections"], {}, signal),
  ]);
  if (listed.status === "rejected" && known.status === "rejected") throw known.reason;
  const ids = listed.status === "fulfilled"
    ? listed.value.items.filter((each) => each.conn_type === "vi").map((each) => each.connection_id)
    : [];
  const { default: first, connections } = known.status === "fulfilled"
    ? known.value
    : { default: "vi_default", connections: [] };
  return [...new Set([first, ...ids, ...connections])];
}
