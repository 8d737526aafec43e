"use strict";
/* Keepers: the outbox that keeps what a user barks, and the inbox that keeps what a user reads.
 *
 * A sentence names those of the view's user, and another one says why one of them has changed. The list of all
 * users is kept while it is open: the directory answers for each user, and again at each change.
 *
 * Global: Keepers. Uses: Elements, Peers, Aloud.
 */

const Keepers = (() => {
  const { $, make, setText } = Elements;

  // A link may have so many addresses resolved, and a few more (barker/directory.py, MAX_ASKED).
  const MAX_USERS = 990;
  // Answers that come within this belong to one change of the ring.
  const CHANGE_MS = 1000;
  // A move is shown for so long, or until the next one.
  const SHOWN_MS = 60_000;
  const VERBS = { outbox: "bark", inbox: "read" };

  const users = (count) => `${count.toLocaleString()} user${count === 1 ? "" : "s"}`;

  class Panel {
    /** `on`: users(), all that are known; held(), may nothing below the panel move now? */
    constructor(client, on) {
      Object.assign(this, { client, on });
      this.moves = new Map(); // role -> the sentence about the last move of the view's user, and its time
      this.link = null; // to the directory, while the list is open
      for (const role of Object.keys(VERBS)) client.directory.watch(role);
      $("kept").addEventListener("toggle", () => this.open());
      $("keptby").addEventListener("change", () => this.open());
    }

    view() {
      this.moves.clear();
      this.soon();
    }

    moved(role, from, to) {
      const isThere = this.client.directory.routes.get(role).includes(from);
      const why = isThere ? `${to} is new on the ring` : `${from} has gone from the ring`;
      const words = `${why}, so ${to} keeps what you ${VERBS[role]} now.`;
      this.moves.set(role, [words, performance.now()]);
      Aloud.say(words);
      this.soon();
    }

    soon() {
      this.frame ??= requestAnimationFrame(() => { this.frame = null; if (!this.on.held()) this.draw(); });
    }

    draw() {
      const [inbox, outbox] = ["inbox", "outbox"].map((role) => this.client.services.find((s) => s.role === role));
      $("keepers").hidden = !outbox;
      if (outbox) setText($("keeps"), `Now ${named(outbox)} keeps what you bark, and ${named(inbox)} what you read.`);
      setText($("keepsmoved"), [...this.moves.values()].map(([words]) => words).join(" "));
      if (this.link) this.drawAll();
    }

    // --- All users ---

    open() {
      this.link?.close();
      this.link = null;
      if (!$("kept").open) return;
      this.role = $("keptby").querySelector(":checked").value;
      this.owners = new Map(); // user -> keeper; undefined before the answer, null if there is none
      this.from = new Map(); // of those that have moved: the keeper before
      this.changedAt = this.saidAt = 0;
      const { place, identity } = this.client.directory;
      this.link = new Peers.Directory(place, identity, () => this.soon());
      this.link.watch(this.role);
      this.addUsers();
      this.draw();
    }

    addUsers() {
      for (const user of this.on.users()) {
        if (this.owners.has(user) || this.owners.size >= MAX_USERS) continue;
        this.owners.set(user, undefined);
        this.link.follow(`${this.role}/${user}`, ({ name }) => this.found(user, name));
      }
    }

    found(user, keeper) {
      const before = this.owners.get(user), now = performance.now();
      this.owners.set(user, keeper);
      if (before !== undefined && before !== keeper) {
        if (now - this.changedAt > CHANGE_MS) this.from.clear();
        this.changedAt = now;
        this.from.set(user, before);
      }
      this.soon();
    }

    change() {
      const { from, owners, role } = this;
      const [before, other] = new Set(from.values());
      const whose = other === undefined ? ` of ${before ?? `no ${role}`}` : "";
      return `${users(from.size)}${whose} moved, and ${users(owners.size - from.size)} stayed.`;
    }

    state() {
      const { link, from, owners, role } = this;
      const left = this.on.users().length - owners.size;
      return !link.dialer.up ? "The directory does not answer." : [...owners.values()].includes(undefined) ? "The directory is asked …"
        : from.size ? this.change() : `The ring gives each user one ${role}. If one goes, its users move to the others, and no other user moves.${left > 0 ? ` ${users(left)} are left out.` : ""}`;
    }

    drawAll() {
      setText($("keptstate"), this.state());
      const shares = new Map(this.link.routes.get(this.role).toSorted().map((name) => [name, []]));
      for (const [user, keeper] of this.owners) {
        if (keeper !== undefined) shares.set(keeper, [...shares.get(keeper) ?? [], user]);
      }
      const content = JSON.stringify([this.role, this.client.user, [...shares], [...this.from]]);
      if (content === this.content) return;
      this.content = content;
      $("keptlists").replaceChildren(...[...shares].flatMap(([keeper, names]) => this.share(keeper, names)));
    }

    share(keeper, names) {
      const words = ` keeps what ${users(names.length)} ${VERBS[this.role]}${names.length === 1 ? "s" : ""}`;
      const list = make("ul", "names", ...names.map((user) => this.name(user)));
      list.role = "list";
      list.ariaLabel = keeper ?? `no ${this.role}`;
      return [make("p", "keeper", make("b", "", keeper ?? `No ${this.role}`), words), list];
    }

    name(user) {
      const item = make("li", user === this.client.user ? "me" : "", user);
      if (this.from.has(user)) {
        item.title = `moved from ${this.from.get(user) ?? `no ${this.role}`}`;
        item.dataset.moved = "";
        item.append(make("span", "aloud", ` ${item.title}`));
      }
      return item;
    }

    /** Once a second: what is old is shown no longer. */
    tick() {
      const now = performance.now();
      for (const [role, [, at]] of this.moves) if (now - at > SHOWN_MS) this.moves.delete(role);
      if (this.link) this.addUsers();
      if (this.link && this.from.size && now - this.changedAt > CHANGE_MS) { // all of the change has come
        if (this.saidAt < this.changedAt) Aloud.say(this.change());
        this.saidAt = now;
        if (now - this.changedAt > SHOWN_MS) this.from.clear();
      }
      this.soon();
    }
  }

  const named = ({ role, name, unserved }) => (unserved ? `no ${role}` : name === role ? "…" : name);

  return { Panel };
})();
