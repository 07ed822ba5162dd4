// Serves the pages until it is told to stop: the container's first process.

// A first process ignores SIGTERM until it has a handler, so it comes before the imports that take time. Once there is
// a server, it finishes what is being answered; then the process ends with status 0.
let app;
for (const signal of ["SIGTERM", "SIGINT"]) {
  process.once(signal, async () => {
    await app?.close();
    process.exit(0);
  });
}

const { build } = await import("./app.js");
app = build({ logger: true, route: process.env.ROUTE, apiUrl: process.env.API_URL });
await app.listen({ host: "0.0.0.0", port: Number(process.env.PORT) });
