"use strict";
/* The map: the services from left to right as a bark passes them, what flows between them, and each
 * manifold's share of its ring.
 *
 * Global: System. Uses: Elements, Model, Words, Looks, Cards.
 */

const System = (() => {
  const { arrange, make, setData, setText, svg } = Elements;
  const { sum } = Model;
  const { roughText } = Words;
  const { colourOf } = Looks;

  const GROUPS = [
    ["outbox", "Outboxes", "The ring gives each author one."],
    ["bizlogic", "Business logic", "One finds the readers of all barks."],
    ["inbox", "Inboxes", "The ring gives each reader one."],
  ];
  // Between two groups: the figure of bizlogic that passes there, and its unit.
  const FLOWS = [["in", "barks/s"], ["out", "copies/s"]];
  // Gone ones leave the map after this; the list of events keeps them longer.
  const GONE_SHOWN_MS = 120_000;
  // Of a circle with a circumference of 100, so that shares are percentages.
  const RADIUS = 100 / (2 * Math.PI);

  class SystemMap {
    /** `extras(row)`: one more element for the end of a new card, or null. */
    constructor(root, { extras } = {}) {
      Object.assign(this, { root, extras });
      this.groups = new Map();
      this.cards = new Map();
      this.flows = [];
      GROUPS.forEach(([kind, title, rule], i) => {
        if (i) this.addFlow(...FLOWS[i - 1]);
        this.addGroup(kind, title, rule);
      });
      this.addGroup("", "Around it", "");
    }

    addGroup(kind, title, rule) {
      const ring = svg("svg", { viewBox: "0 0 40 40", class: "ring", width: 34, height: 34, "aria-hidden": "true" });
      const list = make("ul", "cards");
      const head = make("div", "group-head", make("div", "", make("h3", "", title), make("p", "note", rule, Cards.chapterLink({ kind, name: title.toLowerCase() }))));
      const element = make("section", kind ? "group" : "group around", head, list);
      element.setAttribute("aria-label", title);
      if (kind === "outbox" || kind === "inbox") head.append(ring);
      this.root.append(element);
      this.groups.set(kind, { list, ring });
    }

    addFlow(field, unit) {
      const count = make("b"), shaft = make("span", "shaft");
      const element = make("p", "flow", count, make("span", "note", unit), shaft);
      this.root.append(element);
      this.flows.push({ field, count, element });
    }

    show(frame) {
      const rows = frame.services.filter(({ up, gone }) => up || gone === null || frame.at - gone < GONE_SHOWN_MS);
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
      for (const { field, count, element } of this.flows) {
        const value = sum(frame, "bizlogic", field);
        setText(count, roughText(value));
        setData(element, "flows", String(value > 0));
      }
    }

    /** By name; but under `ordered` in that order, so that the first one stands first. Gone ones at the
     *  end. */
    ordered(rows, frame) {
      const place = (row) => {
        const route = frame.routes[row.kind];
        return (row.up ? 0 : 1000) + (route?.policy === "ordered" ? route.targets.indexOf(row.name) : 0);
      };
      return rows.sort((a, b) => place(a) - place(b) || (a.name < b.name ? -1 : 1));
    }

    showRow(row, frame) {
      let card = this.cards.get(row.name);
      if (!card) this.cards.set(row.name, card = new Cards.Card(row, this.extras));
      card.show(row, frame);
      return card.item;
    }
  }

  function arcs(shares) {
    let start = 25; // twelve o'clock
    return Object.keys(shares).sort().map((name) => {
      const size = 100 * shares[name];
      const length = Math.max(0.5, size > 99.5 ? size : size - 1); // a little air, also without colours
      const arc = svg("circle", {
        cx: 20, cy: 20, r: RADIUS, fill: "none", "stroke-width": 6,
        "stroke-dasharray": `${length} ${100 - length}`, "stroke-dashoffset": start,
      });
      arc.style.stroke = `var(${colourOf(name)})`;
      start -= size;
      return arc;
    });
  }

  return { SystemMap };
})();
