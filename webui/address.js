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

  return { chosenUser, directoryPlace, viewUrl };
})();
