// A receiver as a site's JavaScript would be: npm's "standardwebhooks" as it is decides about each delivery.
// Prints its port, then one line a delivery.
//
//   node receive.mjs SECRET
import { createServer } from "node:http";
import { Webhook } from "standardwebhooks";

const webhook = new Webhook(process.argv[2]);
const server = createServer(async (request, response) => {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  try {
    const answer = webhook.verify(Buffer.concat(pieces).toString(), request.headers);
    console.log(`verified ${request.headers["webhook-id"]} ${answer.request_id} ${answer.delivery.note}`);
    response.writeHead(204).end();
  } catch (error) {
    console.log(`refused ${error.constructor.name}: ${error.message}`);
    response.writeHead(400).end();
  }
});
server.listen(0, "127.0.0.1", () => console.log(`port ${server.address().port}`));
