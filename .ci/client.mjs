// A client in another language, written from docs/protocol.rst and nothing else: it puts one bark to
// its author's outbox, and reads the author's inbox until the bark is there.
//
//     node .ci/client.mjs PORT KEY_FILE USER TEXT
//
// PORT is the directory's, and KEY_FILE has the clients' key. Prints "acked ID", and "shown TEXT" for each bark up to its own.

import { createHmac, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { connect } from "node:net";

const [port, keyFile, user, text] = process.argv.slice(2);
const key = readFileSync(keyFile, "utf8").trim(); // its hex digits are not decoded

/** One connection, greeted: `say` sends a message, `hear` gives the next one but for pings. */
async function open(host, port) {
  const socket = connect(port, host);
  const waiting = [], lines = [];
  let rest = "";
  socket.setEncoding("utf8");
  socket.on("data", (data) => {
    const parts = (rest + data).split("\n");
    rest = parts.pop();
    for (const line of parts) {
      const message = JSON.parse(line);
      if (message.op === "ping") say({ op: "pong" });
      else if (waiting.length) waiting.shift()(message);
      else lines.push(message);
    }
  });
  const say = (message) => socket.write(JSON.stringify(message) + "\n");
  const hear = () => new Promise((got) => lines.length ? got(lines.shift()) : waiting.push(got));
  const mac = (end, opener, acceptor) =>
    createHmac("sha256", key).update(`barker 1 ${end} client ${opener} ${acceptor}`).digest("hex");
  const nonce = randomBytes(16).toString("hex");
  say({ op: "hello", v: 1, role: "client", nonce });
  const hello = await hear();
  say({ op: "proof", mac: mac("opener", nonce, hello.nonce), name: "another-language" });
  const proof = await hear();
  if (proof.mac !== mac("acceptor", nonce, hello.nonce)) throw new Error("it lacks the key");
  return { say, hear, end: () => socket.destroy() };
}

async function find(address) {
  directory.say({ op: "resolve", address });
  for (;;) {
    const target = await directory.hear();
    if (target.address === address && target.name !== null) return open(target.host, target.port);
  }
}

const directory = await open("127.0.0.1", Number(port));
const id = randomBytes(12).toString("hex");

const outbox = await find(`outbox/${user}`);
const bark = { id, user, content: text, at: Date.now() };
outbox.say({ op: "put", seq: 1, to: [`outbox/${user}`], bodies: [bark] });
const answer = await outbox.hear();
if (answer.op !== "ack" || answer.seq !== 1) throw new Error(JSON.stringify(answer));
console.log("acked", id);

const address = `inbox/${user}`;
const inbox = await find(address);
inbox.say({ op: "subscribe", address, history: 10, window: 4 });
let { op, serial } = await inbox.hear();
if (op !== "subscribed") throw new Error(op);
for (let shown = false; !shown;) {
  const message = await inbox.hear();
  if (message.op === "gap") serial += message.missed;
  for (const body of message.bodies ?? []) {
    serial += 1;
    console.log("shown", body.content);
    shown ||= body.id === id;
  }
  inbox.say({ op: "credit", address, serial });
}
for (const connection of [directory, outbox, inbox]) connection.end();
