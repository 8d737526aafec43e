"use strict";
/* The filter: all barks of a view, those with one #tag, or one's own. The page's address holds it, and it
 * hides what the page has: nothing is requested for it.
 *
 * Global: Filter. Uses: Elements, Address, Stream.
 */

const Filter = (() => {
  const { $, make } = Elements;
  let { tag, own } = Address.chosenFilter();

  const isOn = () => own || tag !== "";
  const is = (filter) => tag === (filter.tag ?? "") && own === Boolean(filter.own);

  /** Take over the filter of the page's address, and draw the ways to that user's other views. */
  function read(user) {
    ({ tag, own } = Address.chosenFilter());
    const choices = [["All", {}], ["My own", { own: true }], ...(tag ? [[`#${tag}`, { tag }]] : [])];
    $("filter").replaceChildren(...choices.map(([words, filter]) => {
      const link = Stream.userLink("", user, words, filter);
      if (is(filter)) link.ariaCurrent = "page";
      return make("li", "", link);
    }));
  }

  function matches(entry) {
    if (own) return entry.own === true;
    return tag === "" || (Boolean(entry.bark) && Stream.tagsIn(entry.bark.content).includes(tag));
  }

  const title = (user) => (own ? `${user}’s own barks` : tag ? `#${tag} for ${user}` : `${user}’s stream`);

  function end(items) {
    const shown = items.filter((item) => !item.hidden).length;
    return `${own ? "Your own" : `With #${tag}`}: ${shown.toLocaleString()} of ${items.length.toLocaleString()} barks here.`;
  }

  return { end, is, isOn, matches, read, title };
})();
