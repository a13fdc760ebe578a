// Asks a server, given as the first argument, through OpenFeature's provider for servers.
// Every further argument is a context in JSON; prints the details of each in JSON.
import { OpenFeature } from "@openfeature/server-sdk";
import { OFREPProvider } from "@openfeature/ofrep-provider";

const [baseUrl, token, ...contexts] = process.argv.slice(2);
const headers = [["Authorization", `Bearer ${token}`]];
await OpenFeature.setProviderAndWait(new OFREPProvider({ baseUrl, headers }));
const client = OpenFeature.getClient();
const found = [];
for (const context of contexts.map(JSON.parse)) {
  found.push(await client.getNumberDetails("deploy-retries", -1, context));
}
found.push(await client.getBooleanDetails("deploy-retries", true, JSON.parse(contexts[0])));
found.push(await client.getNumberDetails("missing", -1, JSON.parse(contexts[0])));
console.log(JSON.stringify(found));
await OpenFeature.close();
