// A round trip with a client that openapi-typescript made of the document: node out/round.js URL

import createClient from "openapi-fetch";
import type { components, paths } from "./bridge.js";

declare const process: { argv: string[] };

type Bundle = components["schemas"]["ResourceBundle"];
type ErrorBody = components["schemas"]["ErrorBody"];

const base = process.argv[2];
if (base === undefined) throw new Error("usage: round.js URL");
const bridge = createClient<paths>({ baseUrl: base });
const name = "from-typescript";

function check(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(what);
}

/** What came, or the error's own words. */
function got<T>(answer: { data?: T; error?: ErrorBody }): T {
  check(answer.data !== undefined, `${answer.error?.code}: ${answer.error?.reason}`);
  return answer.data;
}

const consumer = got(await bridge.POST("/api/maestro/v1/consumers", { body: { name, labels: { made: "by-typescript" } } }));
check(consumer.labels?.["made"] === "by-typescript", "the consumer has its label");

const manifest = (value: string): components["schemas"]["Manifest"] => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name, namespace: "default" },
  data: { value },
});
const body: components["schemas"]["ResourceBundleCreate"] = {
  consumer_name: "cluster1",
  name,
  metadata: { name: "work", labels: { "app.kubernetes.io/name": name } },
  manifests: [manifest("1")],
  manifest_configs: [
    {
      resourceIdentifier: { group: "", resource: "configmaps", name, namespace: "default" },
      updateStrategy: { type: "ServerSideApply", serverSideApply: { force: true } },
    },
  ],
  delete_option: { propagationPolicy: "Foreground" },
};
const created = got(await bridge.POST("/api/maestro/v1/resource-bundles", { body }));
check(created.version === 1 && created.ledger?.[0]?.version === 1, "the bundle has version 1");

const search = `consumer_name = 'cluster1' and labels.app.kubernetes.io/name = '${name}'`;
const list = got(await bridge.GET("/api/maestro/v1/resource-bundles", { params: { query: { search, fields: "id,version", size: 10 } } }));
const only = list.items[0];
check(list.total === 1 && only?.id === created.id, "the search finds the bundle");
check(only.version === 1 && only.name === undefined && only.manifests === undefined, "the list shows the fields asked for");

const one = { params: { path: { id: created.id } } } as const;
const applied = await until("it is applied", (bundle) => bundle?.status?.conditions?.some((found) => found.type === "Applied" && found.status === "True"));
check(applied?.status?.ObservedVersion === 1, "the status is of version 1");

const changed = got(await bridge.PATCH("/api/maestro/v1/resource-bundles/{id}", { ...one, body: { version: 1, manifests: [manifest("2")], delete_option: null } }));
check(changed.version === 2 && changed.delete_option === undefined, "the change is version 2");
const stale = await bridge.PATCH("/api/maestro/v1/resource-bundles/{id}", { ...one, body: { version: 1, manifests: [manifest("3")] } });
check(stale.response.status === 409 && stale.error?.latest_version === 2, "a stale change is told the latest version");
const missing = await bridge.GET("/api/maestro/v1/resource-bundles/{id}", { params: { path: { id: "none" } } });
check(missing.response.status === 404 && missing.error?.code === "maestro-7", "an unknown id is a typed error");

check((await bridge.DELETE("/api/maestro/v1/resource-bundles/{id}", one)).response.status === 204, "the bundle is being deleted");
await until("it is gone", (bundle) => bundle === undefined);
const removed = await bridge.DELETE("/api/maestro/v1/consumers/{id}", { params: { path: { id: name } } });
check(removed.response.status === 204, "the consumer is removed");
console.log("done");

/** The bundle, once this holds for it; it is undefined when it is not there. */
async function until(what: string, holds: (bundle: Bundle | undefined) => boolean | undefined): Promise<Bundle | undefined> {
  for (const end = Date.now() + 30_000; Date.now() < end; ) {
    const answer = await bridge.GET("/api/maestro/v1/resource-bundles/{id}", one);
    const bundle = answer.response.status === 404 ? undefined : got<Bundle>(answer);
    if (holds(bundle)) return bundle;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`not within 30 s: ${what}`);
}
