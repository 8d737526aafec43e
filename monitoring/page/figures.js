"use strict";
/* Figures: the table of the graphs' values, the numbers at a glance, and the list of events.
 *
 * Global: Figures. Uses: Elements, Model, Words, Looks.
 */

const Figures = (() => {
  const { arrange, make, setData, setText } = Elements;
  const { DRAWN, MAX_EVENTS_KEPT, oldestOf, sum } = Model;
  const {
    ageText, bytesText, clockText, countText, delayText, eventSentence, glyphOf, goneText, isKnown, kindOf, percentText,
    rateText, roughText,
  } = Words;
  const { swatch } = Looks;

  const KIND_ORDER = ["outbox", "bizlogic", "inbox", "followers", "suggestions", "directory", "monitor"];

  // A column of the table: name of the field, and its words for a row of a frame.
  const TABLE_COLUMNS = [
    ["state", (row, frame) => stateText(row, frame)],
    ["backlog", (row) => countText(row.backlog)],
    ["peak", (row) => countText(row.peak)],
    ["again", (row) => countText(row.again)],
    ["oldest", (row) => ageText(row.oldest_ms)],
    ["letters", (row) => countText(row.dead_letters)],
    ["in", (row) => rateText(row.in)],
    ["out", (row) => rateText(row.out)],
    ["delay", (row) => (isKnown(row.delay_ms) ? delayText(row.delay_ms) : "–")],
    ["share", (row, frame) => percentText(frame.routes[row.kind]?.shares?.[row.name])],
    ["streams", (row) => countText(row.streams)],
    ["unacked", (row) => countText(row.unacked)],
    ["links", (row) => countText(row.links)],
    ["cpu", (row) => percentText(row.cpu)],
    ["memory", (row) => bytesText(row.rss_bytes)],
  ];

  function stateText(row, frame) {
    if (!row.up) return goneText(row);
    const route = frame.routes[row.kind];
    if (route?.policy === "ordered" && route.first === row.name && row.kind !== "monitor") return "first";
    return row.waits ? "waits" : "up";
  }

  const byKind = (a, b) => kindRank(a) - kindRank(b) || (a.name < b.name ? -1 : 1);
  const kindRank = (row) => (KIND_ORDER.includes(row.kind) ? KIND_ORDER.indexOf(row.kind) : KIND_ORDER.length);

  class Table {
    constructor(root) {
      this.body = root.tBodies[0];
      this.rows = new Map();
    }

    show(frame) {
      const services = [...frame.services].sort(byKind);
      const names = new Set(services.map((row) => row.name));
      for (const name of this.rows.keys()) if (!names.has(name)) this.rows.delete(name);
      arrange(this.body, services.map((service) => this.showRow(service, frame)));
    }

    showRow(service, frame) {
      const row = this.rows.get(service.name) ?? this.addRow(service);
      setData(row.element, "up", String(service.up));
      setData(row.element, "how", service.how ?? "");
      setData(row.element, "letters", String(service.dead_letters > 0));
      for (const [field, words] of TABLE_COLUMNS) setText(row.cells[field], words(service, frame));
      return row.element;
    }

    addRow(service) {
      const head = make("th", "", service.name);
      head.scope = "row";
      head.prepend(DRAWN.includes(service.kind) ? swatch(service.name, false) : make("span", "swatch"));
      const cells = {};
      for (const [field] of TABLE_COLUMNS) {
        cells[field] = make("td");
        cells[field].dataset.field = field;
      }
      const element = make("tr", "", head, ...Object.values(cells));
      element.dataset.service = service.name;
      const row = { element, cells };
      this.rows.set(service.name, row);
      return row;
    }
  }

  /** The direction of a queue, compared with some seconds before. */
  function wayOf(frame, before) {
    if (!isKnown(before?.depth) || !isKnown(frame.depth)) return "";
    const rise = frame.depth - before.depth;
    return rise > 2 ? "rising, " : rise < -2 ? "falling, " : "steady, ";
  }

  class Glance {
    constructor(byId) {
      this.byId = byId;
    }

    show(frame, model, serial) {
      const { byId } = this;
      setText(byId("depth"), countText(frame.depth));
      const stuck = model.isStuck(serial);
      let note = frame.depth ? "barks, on their way" : "barks, all of them handed on";
      if (frame.depth === null) note = "no outbox answers";
      else if (stuck) note = `${wayOf(frame, model.frame(serial - 5))}the oldest waits ${ageText(oldestOf(frame))}`;
      setText(byId("depth-note"), note);
      setData(byId("depth").parentNode, "level", stuck ? "bad" : "fine");
      setText(byId("barks-in"), roughText(sum(frame, "outbox", "in")));
      setText(byId("barks-out"), roughText(sum(frame, "bizlogic", "out")));
      this.showDelay(frame);
      const route = frame.routes.bizlogic;
      const spares = route ? route.targets.filter((name) => name !== route.first).length : 0;
      setText(byId("first"), route?.first ?? "none");
      setData(byId("first").parentNode, "level", route?.first ? "fine" : "bad");
      setText(byId("first-note"), !route?.first ? "start one to move the queue"
        : spares ? `${spares} more ready to take over` : "no other one is ready to take over");
    }

    /** Of several inboxes, the one whose barks took longest. */
    showDelay(frame) {
      const { byId } = this;
      const rows = frame.services.filter((row) => row.kind === "inbox" && isKnown(row.delay_ms));
      const slowest = rows.sort((a, b) => b.delay_ms - a.delay_ms)[0];
      setText(byId("delay"), slowest ? delayText(slowest.delay_ms) : "–");
      const longest = slowest ? `on average, ${delayText(slowest.delay_max_ms)} at most` : "nothing was shown in this second";
      const leftOut = sum(frame, "inbox", "delay_over");
      setText(byId("delay-note"), longest + (leftOut ? `; ${countText(leftOut)} over 10 min left out` : ""));
    }
  }

  class EventList {
    constructor(list, empty) {
      Object.assign(this, { list, empty, shown: "" });
    }

    /** All events that the graphs have a pole for, newest on top, and whether there may have been more; events
     *  after the second that is shown are hidden. Known items stay the same elements, so only news are read aloud. */
    show(events, serial, isLive) {
      const wanted = [...events].reverse();
      const keys = wanted.map((event) => `${event.at} ${event.what} ${event.name} ${event.again ?? ""}`);
      const shown = `${keys.join()} ${serial} ${isLive}`;
      if (this.shown === shown) return;
      this.shown = shown;
      this.list.parentNode.setAttribute("aria-live", isLive ? "polite" : "off"); // what was hidden is no news
      const old = new Map([...this.list.children].map((item) => [item.dataset.key, item]));
      arrange(this.list, wanted.map((event, i) => old.get(keys[i]) ?? this.item(event, keys[i])));
      wanted.forEach((event, i) => { this.list.children[i].hidden = event.serial > serial; });
      const full = events.length === MAX_EVENTS_KEPT;
      setText(this.empty, full ? `No more than the latest ${MAX_EVENTS_KEPT} are kept.` : "Nothing in the time that is kept.");
      this.empty.hidden = !full && wanted.some((event) => event.serial <= serial);
    }

    item(event, key) {
      const sign = make("span", "sign", glyphOf(event));
      sign.setAttribute("aria-hidden", "true");
      const item = make("li", kindOf(event), make("time", "", clockText(event.at)), sign, make("span", "", eventSentence(event)));
      item.dataset.key = key;
      item.dataset.what = event.what;
      return item;
    }
  }

  return { EventList, Glance, TABLE_COLUMNS, Table, byKind };
})();
