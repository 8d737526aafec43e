// Classic scripts: each makes one global, and uses those of the scripts before it in index.html.
import js from "@eslint/js";
import { readFileSync } from "node:fs";

const made = (page) => [...readFileSync(`${page}/index.html`, "utf8").matchAll(/<script src="([^"]+)"/g)]
  .map(([, path]) => path.split("/").at(-1).replace(".js", ""))
  .map((name) => [name[0].toUpperCase() + name.slice(1), "readonly"]);

const browser = `document window location history performance crypto console navigator matchMedia
  sessionStorage localStorage WebSocket URLSearchParams TextEncoder MutationObserver ResizeObserver
  setTimeout clearTimeout setInterval clearInterval queueMicrotask requestAnimationFrame
  addEventListener removeEventListener cancelAnimationFrame getComputedStyle Option Node Path2D devicePixelRatio innerWidth innerHeight`;
const globals = Object.fromEntries([
  ...browser.split(/\s+/).map((name) => [name, "readonly"]),
  ...made("webui"),
  ...made("monitoring"),
]);

export default [
  js.configs.recommended,
  {
    languageOptions: { sourceType: "script", ecmaVersion: "latest", globals },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      "no-redeclare": ["error", { builtinGlobals: false }], // a script declares the global that it makes
      "no-unused-vars": ["error", { varsIgnorePattern: "^[A-Z]", argsIgnorePattern: "^_" }],
      "no-unused-expressions": ["error", { allowTernary: true, allowShortCircuit: true }],
      eqeqeq: "error",
      "no-var": "error",
      "prefer-const": "error",
      "no-eval": "error",
      "no-implied-eval": "error",
    },
  },
];
