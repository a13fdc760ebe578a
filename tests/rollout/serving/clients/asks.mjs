// Asks a server, given as the second argument, through the provider named by the first:
// `server` or `web`. The third is a list of [flag, default, context] in JSON; prints details.
import * as server from "@openfeature/server-sdk";
import * as web from "@openfeature/web-sdk";
import { OFREPProvider } from "@openfeature/ofrep-provider";
import { OFREPWebProvider } from "@openfeature/ofrep-web-provider";

const [kind, baseUrl, asks] = process.argv.slice(2);
const { OpenFeature } = kind === "web" ? web : server;
const provider = kind === "web"
  ? new OFREPWebProvider({ baseUrl, pollInterval: 0, cacheMode: "disabled" })
  : new OFREPProvider({ baseUrl });
await OpenFeature.setProviderAndWait(provider);
const client = OpenFeature.getClient();
const method = { boolean: "getBooleanDetails", string: "getStringDetails", number: "getNumberDetails",
  object: "getObjectDetails" };
const found = [];
for (const [flag, fallback, context] of JSON.parse(asks)) {
  if (kind === "web") await OpenFeature.setContext(context);
  found.push(await client[method[typeof fallback]](flag, fallback, context));
}
console.log(JSON.stringify(found));
await OpenFeature.close();
