import { defineConfig } from "vite";

export default defineConfig({
  base: "/assets/",
  publicDir: false,
  worker: { format: "es" },
  build: {
    outDir: "../src/embedrouter/web/built",
    emptyOutDir: true,
    assetsDir: "",
    assetsInlineLimit: 0, // the content security policy allows no data: but for images
    manifest: "manifest.json",
    modulePreload: { polyfill: false },
    target: ["chrome123", "firefox121", "safari17.5"],
    chunkSizeWarningLimit: 700,
    rolldownOptions: { input: "src/main.ts" },
  },
});
