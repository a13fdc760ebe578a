// Asks OpenFeature's flagd-core, in the process, about every unit on standard input, one a
// line, and prints the variant of each. Arguments: the definition's file and the flag.
import { readFileSync } from "node:fs";
import { FlagdCore } from "@openfeature/flagd-core";

const [definition, flag] = process.argv.slice(2);
const core = new FlagdCore();
core.setConfigurations(readFileSync(definition, "utf8"));
const logger = { error() {}, warn() {}, info() {}, debug() {} };
const units = readFileSync(0, "utf8").split("\n").slice(0, -1);
const variant = (targetingKey) => core.resolveNumberEvaluation(flag, -1, { targetingKey }, logger).variant;
console.log(units.map(variant).join("\n"));
