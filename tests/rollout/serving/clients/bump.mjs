// Waits for a bump as a program would see it: the first argument is the provider, `server` or
// `web`, the second the address. Prints the value of deploy-retries whenever it is another.
import * as server from "@openfeature/server-sdk";
import * as web from "@openfeature/web-sdk";
import { OFREPProvider } from "@openfeature/ofrep-provider";
import { OFREPWebProvider } from "@openfeature/ofrep-web-provider";

const [kind, baseUrl] = process.argv.slice(2);
const { OpenFeature } = kind === "web" ? web : server;
const who = { targetingKey: "hello" };
if (kind === "web") await OpenFeature.setContext(who);
await OpenFeature.setProviderAndWait(kind === "web"
  ? new OFREPWebProvider({ baseUrl, pollInterval: 50, cacheMode: "disabled" })
  : new OFREPProvider({ baseUrl }));
const client = OpenFeature.getClient();
for (let before; ; await new Promise((next) => setTimeout(next, 20))) {
  const value = await client.getNumberValue("deploy-retries", -1, who);
  if (value !== before) console.log(before = value);
}
