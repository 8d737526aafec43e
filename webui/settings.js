"use strict";
/* Settings: a launcher writes them for a page, in a script that sets window.BARKER.
 *
 * A page from disk can't read files. It can load scripts, and it can load one again: the system may
 * have been started anew, elsewhere or with another key. Both pages use this file.
 *
 * Global: Settings. Uses: nothing.
 */

const Settings = (() => {
  /** {host, port, key, tls, users}; undefined without the script. */
  const current = () => window.BARKER;

  /** Returns a function that runs the script once more, and then calls `changed` if `summary` returns
   *  another value than before. */
  function reader(script, summary, changed) {
    const settingsNow = () => JSON.stringify(summary() ?? null);
    let settings = settingsNow();
    return () => {
      const element = document.createElement("script");
      element.src = `${script}?${Date.now()}`; // else the browser uses its cached copy
      element.onload = () => {
        element.remove();
        if (settings === settingsNow()) return;
        settings = settingsNow();
        changed();
      };
      element.onerror = () => element.remove();
      document.head.append(element);
    };
  }

  return { current, reader };
})();
