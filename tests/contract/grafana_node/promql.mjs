// Reads a JSON list of PromQL expressions on stdin; prints, as JSON, those that the grammar of the current Prometheus
// refuses, each with the place of the first error.
import { readFileSync } from "node:fs";
import { parser } from "@prometheus-io/lezer-promql";

const refused = [];
for (const expression of JSON.parse(readFileSync(0, "utf8"))) {
  let place = null;
  parser.parse(expression).iterate({
    enter: (node) => {
      if (node.type.isError && place === null) place = node.from;
    },
  });
  if (place !== null) refused.push({ expression, place });
}
console.log(JSON.stringify(refused));
