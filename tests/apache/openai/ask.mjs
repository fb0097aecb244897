// Asks an endpoint as a site's JavaScript does, with npm's "openai" as it is, and prints what it got as JSON.
//
//   node ask.mjs BASE_URL '{"messages":[…], …}'
import OpenAI from "openai";

const [baseURL, request] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "the-site-needs-none", maxRetries: 0, timeout: 30000 });
const got = { chunks: [], done: false };
try {
  const stream = await client.chat.completions.create({ model: "any", stream: true, ...JSON.parse(request) });
  for await (const chunk of stream) got.chunks.push(chunk);
  got.done = true;
} catch (error) {
  got.error = { kind: error.constructor.name, status: error.status, type: error.type, code: error.code,
    message: error.message };
}
console.log(JSON.stringify(got));
