// `node drive.mjs SCENARIO URL ARTIFACTS [ARGUMENT]…`: runs a scenario against a bridge, and ends with 0 if it held.

import { Visit } from "./page.mjs";
import * as scenarios from "./scenarios.mjs";

const [name, url, artifacts, ...rest] = process.argv.slice(2);
const visit = new Visit({ url, artifacts });
try {
  await visit.start();
  await scenarios[name](visit, ...rest);
  await visit.end();
} catch (error) {
  console.error(error.stack);
  for (const breach of visit.breaches) console.error(`besides: ${breach}`);
  await visit.page?.screenshot({ path: `${artifacts}/${name}-failed.png` }).catch(() => {});
  process.exit(1);
}
