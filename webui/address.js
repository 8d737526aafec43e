"use strict";

/* What the page's address and its settings say: whose view it is, and where the directory is.
 *
 * Global: Address. Uses: Settings.
 */

const Address = (() => {
  const FIRST_USER = "ark3";

  const query = () => new URLSearchParams(location.search);

  /** The address of a user's view, all else in it as it is now. */
  function viewUrl(user) {
    const other = query();
    other.set("user", user);
    return `?${other}`;
  }

  function chosenUser() {
    const users = Settings.current()?.users ?? [];
    return query().get("user") || (users.length && !users.includes(FIRST_USER) ? users[0] : FIRST_USER);
  }

  /** Where the directory is: the settings say so, unless the address does (?host=H or ?host=H:P). */
  function directoryPlace() {
    const { host = "127.0.0.1", port = 5672 } = Settings.current() ?? {};
    const wish = query().get("host");
    if (!wish) return { host, port };
    const [, name, number] = wish.match(/^(\[[^\]]*\]|[^:]*|.*:.*:.*?)(?::(\d+))?$/) ?? [null, wish];
    return { host: name.replace(/^\[|\]$/g, ""), port: Number(number ?? port) };
  }

  /** Make a user's view the address, in such a way that the browser's Back leads here again. Returns
   *  false where the page is loaded again instead: not every browser lets one from disk do that. */
  function go(user) {
    try {
      history.pushState(null, "", viewUrl(user));
      return true;
    } catch {
      location.assign(viewUrl(user));
      return false;
    }
  }

  return { chosenUser, directoryPlace, go, viewUrl };
})();
