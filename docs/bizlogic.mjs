// The smallest bizlogic in JavaScript, written from docs/protocol.rst alone; it needs Node.js.
//
//     node docs/bizlogic.mjs --port 5680 --directory 127.0.0.1:5672 --state var
//
// It is docs/bizlogic.py in another language, and leaves out the same.

import { createHash, createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";
import { connect, createServer } from "node:net";

const argv = process.argv.slice(2), flags = {};
for (let i = 0; i < argv.length; i += 2) flags[argv[i]] = argv[i + 1];
const port = Number(flags["--port"]), beatMs = 1000 * (flags["--heartbeat"] ?? 1);
const name = flags["--name"] ?? `bizlogic-${port}`, since = Date.now();
const secret = readFileSync(`${flags["--state"]}/secret`, "utf8").trim();
const MAX_LINE = 64 * 1024, WINDOW = 4096, AGAIN_MS = 100;
const STAMP = ["origin", "old", "n", "users", "ids", "at", "named", "trace"];

/** The other side has broken a rule: code and reason of an `error`. */
class Wrong extends Error {
  constructor(code, reason) { super(reason); this.code = code; }
}
const check = (holds, reason) => { if (!holds) throw new Wrong("protocol", reason); };

/** One connection: first the greeting, then `party` has up, take and down. */
class Link {
  constructor(socket, party, isOpener) {
    Object.assign(this, { socket, party, isOpener, heard: Date.now(), rest: Buffer.alloc(0) });
    this.nonce = randomBytes(16).toString("hex");
    this.greeting = setTimeout(() => this.fail(new Wrong("timeout", "no hello in time")), 5000);
    this.watch = setInterval(() => this.beat(), beatMs / 4);
    socket.on("data", (data) => this.read(data));
    socket.on("error", () => {});
    socket.on("close", () => this.ended());
    if (isOpener) socket.on("connect", () => this.hello());
  }
  hello() { this.send("hello", { v: 1, role: "service", nonce: this.nonce }); }
  proof(end) { this.send("proof", { mac: this.mac(end), name, epoch: directory.epoch }); }
  send(op, fields = {}) {
    if (!this.over) this.socket.write(JSON.stringify({ op, ...fields }) + "\n");
  }
  beat() {
    const silent = Date.now() - this.heard;
    if (silent > 2.5 * beatMs) this.socket.destroy();
    else if (silent > beatMs && this.isUp) this.send("ping");
  }
  read(data) {
    if (this.over) return;
    this.heard = Date.now();
    this.rest = Buffer.concat([this.rest, data]);
    try {
      for (let end; !this.over && (end = this.rest.indexOf(10)) >= 0;) {
        const line = this.rest.subarray(0, end);
        this.rest = this.rest.subarray(end + 1);
        if (line.length > MAX_LINE) throw new Wrong("too-large", "a line of over 64 KiB");
        this.handle(JSON.parse(line.toString()));
      }
      if (this.rest.length > MAX_LINE) throw new Wrong("too-large", "a line of over 64 KiB");
    } catch (fault) {
      this.fail(fault);
    }
  }
  handle(message) {
    if (message.op === "ping") this.send("pong");
    else if (message.op === "pong") return;
    else if (this.isUp) this.party.take(message);
    else this.greet(message);
  }
  mac(end) {
    const [opener, acceptor] = this.isOpener ? [this.nonce, this.theirs.nonce]
      : [this.theirs.nonce, this.nonce];
    const text = `barker 1 ${end} service ${opener} ${acceptor}`;
    return createHmac("sha256", secret).update(text).digest("hex");
  }
  greet(message) {
    const [us, them] = this.isOpener ? ["opener", "acceptor"] : ["acceptor", "opener"];
    if (!this.theirs) {
      check(message.op === "hello", "say hello first");
      if (message.v !== 1) throw new Wrong("bad-version", "this is version 1");
      this.theirs = message;
      if (this.isOpener) this.proof(us);
      else this.hello();
      return;
    }
    check(message.op === "proof", "say proof first");
    const [claim, right] = [Buffer.from(message.mac), Buffer.from(this.mac(them))];
    if (claim.length !== right.length || !timingSafeEqual(claim, right)) {
      throw new Wrong("bad-proof", "you don't know the secret");
    }
    if (!this.isOpener) this.proof(us);
    clearTimeout(this.greeting);
    this.isUp = true;
    this.party.up(this, message);
  }
  fail(fault) {
    const reason = String(fault.message).slice(0, 500);
    this.send("error", { code: fault instanceof Wrong ? fault.code : "protocol", reason });
    this.over = true;
    this.socket.end();
    setTimeout(() => this.socket.destroy(), 1000);
  }
  ended() {
    this.over = true;
    clearTimeout(this.greeting);
    clearInterval(this.watch);
    this.party.down();
    this.party.again?.();
  }
}

/** Connect, and connect again, for as long as it is wanted. */
function keep(host, port, party) {
  const dial = () => { if (!party.unwanted) party.dialled = new Link(connect(port, host), party, true); };
  party.again = () => setTimeout(dial, AGAIN_MS);
  dial();
}

/** An outbox that puts to us. An entry is acked once all inboxes have it, and all before it. */
class Outbox {
  received = 0;
  jobs = [];
  up(link) { this.link = link; }
  take(put) {
    check(put.op === "put" && put.seq === this.received + 1, "no put, or not this seq");
    check(this.jobs.length + put.bodies.length <= WINDOW, `over ${WINDOW} puts are unacked`);
    put.bodies.forEach((body, i) => {
      const job = { seq: ++this.received, pending: 0, outbox: this };
      this.jobs.push(job);
      if (put.origin === undefined) {
        this.refuse(job, "bad-message", "barks come through an outbox, which stamps them");
        return;
      }
      const isFlat = Object.values(body).every((value) => value === null || typeof value !== "object");
      check(isFlat, "a body with a stamp that is not canonical");
      const fields = {};
      for (const key of STAMP) {
        if (put[key] != null) fields[key] = Array.isArray(put[key]) ? [put[key][i]] : put[key];
      }
      graph.handOver(job, { ...fields, bodies: [body] });
    });
    this.settle();
  }
  settle() {
    let done = 0;
    while (this.jobs.length && !this.jobs[0].pending) done = this.jobs.shift().seq;
    if (done) this.link?.send("ack", { seq: done });
  }
  refuse(job, code, reason) {
    this.link?.send("refuse", { seq: job.seq, code, reason, addresses: ["bizlogic"] });
  }
  down() { this.link = undefined; } // what it has brought is sent again by it, here or elsewhere
}

/** The way to one inbox: what it has not acked is sent again over the next link. */
class Inbox {
  waiting = [];
  sent = [];
  putOff = [];
  constructor(name, host, port) {
    Object.assign(this, { name, host, port });
    keep(host, port, this);
  }
  up(link, proof) {
    check(proof.name === this.name, `you are not ${this.name}`);
    Object.assign(this, { link, seq: 0, acked: 0 });
    this.pump();
  }
  pump() {
    while (this.link && this.waiting.length && this.sent.length < WINDOW) {
      const entry = this.waiting.shift();
      if (!entry.job.outbox.link) continue;
      this.sent.push(entry);
      this.link.send("put", { seq: ++this.seq, to: [entry.addresses.join(" ")], ...entry.fields });
    }
  }
  take(answer) {
    const { op, seq, code, reason, addresses } = answer;
    if (op === "refuse") {
      check(this.acked < seq && seq <= this.seq, `refuse ${seq} of what was not sent`);
      const { job, fields } = this.sent[seq - this.acked - 1];
      if (code !== "full" && code !== "moved") {
        job.outbox.refuse(job, code, reason);
        return;
      }
      if (!this.putOff.length) setTimeout(() => this.putAgain(), AGAIN_MS);
      this.putOff.push({ job, addresses, fields });
      job.pending++;
    } else if (op === "ack") {
      check(seq <= this.seq, `ack ${seq} of what was not sent`);
      for (; this.acked < seq; this.acked++) {
        const { job } = this.sent.shift();
        job.pending--;
        job.outbox.settle();
      }
      this.pump();
    }
  }
  putAgain() {
    const again = this.putOff;
    this.putOff = [];
    directory.place(again, true);
  }
  down() {
    this.link = undefined;
    this.waiting.unshift(...this.sent.splice(0));
  }
}

/** Who follows whom: for each (user, whom) the last word about it, 2 * at, + 1 if it ended. */
class Graph {
  words = new Map();
  users = new Set();
  followers = new Map();
  serial = 0;
  up(link) {
    this.link = link;
    const had = this.epoch ? { epoch: this.epoch, after: this.serial } : {};
    link.send("subscribe", { address: "graph", ...had });
  }
  take(message) {
    if (message.op === "subscribed") {
      const isSame = message.epoch === this.epoch && message.serial === this.serial;
      if (!isSame) this.next = new Graph(); // a snapshot follows
      [this.epoch, this.serial] = [message.epoch, message.serial];
      return;
    }
    if (message.op !== "message") return;
    for (const body of message.bodies) {
      if (body.kind === "graph") this.piece(body);
      else this.event(body);
    }
    this.link.send("credit", { address: "graph", serial: this.next ? 0 : this.serial });
  }
  piece(body) {
    for (const [user, words] of Object.entries(body.users)) {
      this.next.users.add(user);
      for (const [whom, word] of Object.entries(words)) this.next.say(user, whom, word);
    }
    if (body.more) return;
    const { words, users, followers } = this.next;
    Object.assign(this, { words, users, followers, next: undefined });
    directory.register();
  }
  event({ kind, user, whom, at }) {
    this.serial++;
    this.users.add(user);
    if (kind === "follow" || kind === "unfollow") this.say(user, whom, 2 * at + (kind === "unfollow"));
  }
  say(user, whom, word) {
    const edge = `${user} ${whom}`;
    if (word <= (this.words.get(edge) ?? -1)) return;
    this.words.set(edge, word);
    if (!this.followers.has(whom)) this.followers.set(whom, new Set());
    if (word % 2) this.followers.get(whom).delete(user);
    else this.followers.get(whom).add(user);
  }
  down() {
    if (this.next) this.next = this.epoch = undefined; // half a snapshot is none
  }
  /** One bark: to its author, to followers, and to whom it mentions. */
  handOver(job, fields) {
    const author = fields.users[0], named = fields.named?.[0].split(" ") ?? [];
    const known = named.filter((user) => this.users.has(user));
    const readers = new Set([author, ...(this.followers.get(author) ?? []), ...known]);
    job.pending++; // until it is placed
    directory.place([{ job, addresses: [...readers].map((reader) => `inbox/${reader}`), fields }]);
  }
}

/** Who serves what, as the directory has said last. */
class Directory {
  inboxes = new Map();
  points = [];
  homeless = [];
  up(link, proof) {
    [this.link, this.epoch] = [link, proof.epoch];
    for (const prefix of ["inbox", "graph"]) link.send("watch", { prefix });
    if (graph.users.size) this.register();
  }
  down() { this.link = undefined; }
  register() {
    const place = { name, host: "127.0.0.1", port, policy: "ordered", kind: "bizlogic", since };
    this.link?.send("register", { address: "bizlogic", ...place });
  }
  take({ op, address, targets }) {
    if (op !== "routes") return;
    if (address === "graph" && targets.length) this.follow(targets[0]);
    else if (address === "inbox") this.share(targets);
  }
  follow({ host, port }) {
    if (graph.host === host && graph.port === port) return;
    const feed = { up: (link) => graph.up(link), take: (m) => graph.take(m), down: () => graph.down() };
    if (this.feed) this.feed.unwanted = true;
    this.feed?.dialled.socket.destroy();
    this.feed = feed;
    Object.assign(graph, { host, port });
    keep(host, port, feed);
  }
  share(targets) {
    let left = this.homeless;
    this.homeless = [];
    for (const [name, inbox] of this.inboxes) {
      const target = targets.find((t) => t.name === name);
      if (target?.host !== inbox.host || target.port !== inbox.port) {
        left = [...inbox.sent.splice(0), ...left];
        inbox.unwanted = true;
        inbox.dialled.socket.destroy();
        this.inboxes.delete(name);
      }
      left.push(...inbox.waiting.splice(0));
    }
    for (const { name, host, port } of targets) {
      if (!this.inboxes.has(name)) this.inboxes.set(name, new Inbox(name, host, port));
    }
    const all = targets.flatMap(({ name }) => points(name, 256).map((at) => ({ at, name })));
    this.points = all.sort((a, b) => (a.at + a.name < b.at + b.name ? -1 : 1));
    this.place(left);
  }
  owner(address) {
    const [key] = points(address.split("/")[1], 1);
    return (this.points.find(({ at }) => at >= key) ?? this.points[0]).name;
  }
  /** Each entry, by the ring, to the inboxes of its addresses. */
  place(entries, first = false) {
    for (const entry of first ? entries.toReversed() : entries) {
      const { job, addresses, fields } = entry;
      if (!this.points.length) {
        this.homeless.push(entry);
        continue;
      }
      const parts = new Map();
      for (const address of addresses) {
        const owner = this.owner(address);
        parts.set(owner, [...(parts.get(owner) ?? []), address]);
      }
      job.pending += parts.size - 1;
      for (const [owner, some] of parts) {
        const part = { job, addresses: some, fields }, { waiting } = this.inboxes.get(owner);
        if (first) waiting.unshift(part);
        else waiting.push(part);
      }
    }
    for (const inbox of this.inboxes.values()) inbox.pump();
  }
}

/** Places on the ring, as the protocol has them: 64 bits each, here as hex digits. */
function points(text, count) {
  const hash = createHash("shake128", { outputLength: 8 * count }).update(text).digest("hex");
  return hash.match(/.{16}/g);
}

const graph = new Graph(), directory = new Directory();
const server = createServer((socket) => new Link(socket, new Outbox(), false));
server.listen(port, "127.0.0.1", () => {
  const [, host, there] = flags["--directory"].match(/^(.*):(\d+)$/);
  keep(host, Number(there), directory);
  console.log(`READY 127.0.0.1:${port}`);
});
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(0));
