// Verifies webhooks with software of others: v1 with the standard's JavaScript library, v1a with @noble/curves.
// Arguments: the folder of both (node_modules). Standard input: [{headers, body, key}] with the body in base64.
// Standard output: for each, whether it is signed.

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const require = createRequire(`${process.argv[2]}/`);
const { Webhook } = require("standardwebhooks");
const { ed25519 } = require("@noble/curves/ed25519");

function isSigned({ headers, body, key }) {
  const bytes = Buffer.from(body, "base64");
  if (key.startsWith("whsec_")) {
    try {
      new Webhook(key).verify(bytes, headers);
      return true;
    } catch {
      return false;
    }
  }
  const publicKey = Buffer.from(key.replace("whpk_", ""), "base64");
  const signed = Buffer.concat([Buffer.from(`${headers["webhook-id"]}.${headers["webhook-timestamp"]}.`), bytes]);
  return headers["webhook-signature"].split(" ").some((one) => {
    const [scheme, signature] = one.split(",");
    return scheme === "v1a" && ed25519.verify(Buffer.from(signature, "base64"), signed, publicKey);
  });
}

console.log(JSON.stringify(JSON.parse(readFileSync(0, "utf-8")).map(isSigned)));
