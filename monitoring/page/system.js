"use strict";

/* The map: which services are up, which is first, and which share of its ring each manifold owns.
 *
 * Groups stand in the order in which a bark passes them. Elements are made when a service appears and
 * only ever have their words changed after that; a screen reader can sit on one while it counts.
 *
 * Global: System. Uses: Elements, Model, Words, Looks.
 */

const System = (() => {
  const { arrange, make, setData, setText, svg } = Elements;
  const { DRAWN } = Model;
  const { capital, countText, goneText, isKnown, lettersText, whichLetters } = Words;
  const { colourOf, swatch } = Looks;

  const GROUPS = [
    ["outbox", "Outboxes", "consistent hash of the author"],
    ["bizlogic", "Business logic", "the first one that works"],
    ["inbox", "Inboxes", "consistent hash of the reader"],
  ];
  // Of these, one works and the others wait for its end.
  const SPARES = ["bizlogic", "followers"];
  // Gone ones leave the map after this; the list of events keeps them longer.
  const GONE_SHOWN_MS = 120_000;
  // Of a circle with a circumference of 100, so that shares are percentages.
  const RADIUS = 100 / (2 * Math.PI);

  class SystemMap {
    constructor(root) {
      this.root = root;
      this.groups = new Map();
      this.cards = new Map();
      GROUPS.forEach(([kind, title, rule], i) => {
        if (i) root.append(make("div", "arrow", "→"));
        this.addGroup(kind, title, rule);
      });
      this.addGroup("", "Around it", "");
    }

    addGroup(kind, title, rule) {
      const ring = svg("svg", { viewBox: "0 0 40 40", class: "ring", width: 40, height: 40, "aria-hidden": "true" });
      const list = make("ul", "cards");
      const head = make("div", "group-head", make("div", "", make("h3", "", title), make("p", "note", rule)));
      const element = make("section", kind ? "group" : "group around", head, list);
      element.setAttribute("aria-label", title);
      if (kind === "outbox" || kind === "inbox") head.append(ring);
      this.root.append(element);
      this.groups.set(kind, { list, ring });
    }

    show(frame) {
      const rows = frame.services.filter((row) => row.up || this.keeps(row, frame.at));
      const names = new Set(rows.map((row) => row.name));
      for (const name of this.cards.keys()) if (!names.has(name)) this.cards.delete(name);
      const items = new Map([...this.groups.keys()].map((kind) => [kind, []]));
      for (const row of this.ordered(rows, frame)) {
        (items.get(row.kind) ?? items.get("")).push(this.showRow(row, frame));
      }
      for (const [kind, { list, ring }] of this.groups) {
        arrange(list, items.get(kind));
        ring.replaceChildren(...arcs(frame.routes[kind]?.shares ?? {}));
      }
    }

    keeps(row, now) {
      return row.gone === null || now - row.gone < GONE_SHOWN_MS;
    }

    /** By name; but where order decides, in that order, so that the first one stands first. Gone ones
     *  at the end. */
    ordered(rows, frame) {
      const place = (row) => {
        const route = frame.routes[row.kind];
        return (row.up ? 0 : 1000) + (route?.policy === "ordered" ? route.targets.indexOf(row.name) : 0);
      };
      return rows.sort((a, b) => place(a) - place(b) || (a.name < b.name ? -1 : 1));
    }

    showRow(row, frame) {
      const card = this.cards.get(row.name) ?? this.addCard(row);
      const route = frame.routes[row.kind] ?? {};
      const first = route.policy === "ordered" && route.first === row.name && row.kind !== "monitor";
      const share = route.shares?.[row.name];
      setData(card.item, "up", String(row.up));
      setData(card.item, "first", String(first));
      setText(card.badge, first ? "first" : "");
      setData(card.item, "how", row.how ?? "");
      let words = row.up ? `${row.host}:${row.port}` : goneText(row);
      if (row.up && share !== undefined) words = `${(100 * share).toFixed(1)} % of the ring`;
      else if (row.up && route.policy === "ordered" && !first && SPARES.includes(row.kind)) words = "ready to take over";
      setText(card.words, words);
      setData(card.item, "waits", String("waits" in row));
      setText(card.waits, row.waits ? capital(row.waits) : "");
      const letters = row.dead_letters > 0;
      setData(card.item, "letters", String(letters));
      setText(card.letters, letters ? lettersText(row.dead_letters) + whichLetters(row.name, row.dead_letter) : "");
      setText(card.depth, row.up && row.kind === "outbox" && isKnown(row.backlog) ? countText(row.backlog) : "");
      return card.item;
    }

    addCard(row) {
      const badge = make("span", "badge"), words = make("p", "note");
      const waits = make("p", "waits"), letters = make("p", "letters");
      const depth = make("span", "depth");
      depth.title = "barks waiting";
      const drawn = DRAWN.includes(row.kind);
      const sign = drawn ? swatch(row.name, false) : make("span", "dot");
      const item = make("li", "service", sign, make("div", "who", make("p", "", make("b", "", row.name), badge), words, waits, letters), depth);
      item.dataset.service = row.name;
      const card = { item, badge, words, waits, letters, depth };
      this.cards.set(row.name, card);
      return card;
    }
  }

  /** The shares of a ring, by name. Neighbours have different colours, also after one has gone. */
  function arcs(shares) {
    let start = 25; // twelve o'clock
    return Object.keys(shares).sort().map((name, i) => {
      const size = 100 * shares[name];
      const length = Math.max(0.5, size > 99.5 ? size : size - 1); // a little air, also without colours
      const arc = svg("circle", {
        cx: 20, cy: 20, r: RADIUS, fill: "none", "stroke-width": 6,
        "stroke-dasharray": `${length} ${100 - length}`, "stroke-dashoffset": start,
      });
      arc.style.stroke = DRAWN.includes(name.split("-")[0]) ? `var(${colourOf(name)})` : `var(--ring${i % 3})`;
      start -= size;
      return arc;
    });
  }

  return { SystemMap };
})();
