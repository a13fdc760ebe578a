// Asks a server, given as the first argument, through OpenFeature's provider for browsers:
// all flags at once for a context, then whether anything has changed.
import { OpenFeature } from "@openfeature/web-sdk";
import { OFREPWebProvider } from "@openfeature/ofrep-web-provider";

const [baseUrl, token, ...contexts] = process.argv.slice(2);
const statuses = [];
const fetchImplementation = async (...request) => {
  const response = await fetch(...request);
  statuses.push(response.status);
  return response;
};
const headers = [["Authorization", `Bearer ${token}`]];
const provider = new OFREPWebProvider({
  baseUrl, headers, fetchImplementation, pollInterval: 50, cacheMode: "disabled",
});
const client = OpenFeature.getClient();
const found = [];
for (const context of contexts.map(JSON.parse)) {
  await OpenFeature.setContext(context);
  if (found.length === 0) await OpenFeature.setProviderAndWait(provider);
  found.push(client.getNumberDetails("deploy-retries", -1));
}
found.push(client.getBooleanDetails("deploy-retries", true));
found.push(client.getNumberDetails("missing", -1));
while (!statuses.includes(304)) await new Promise((next) => setTimeout(next, 20));
console.log(JSON.stringify(found));
await OpenFeature.close();
