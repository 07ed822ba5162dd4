// The container's health check: ends with status 0 when the server answers.
const port = process.env.PORT;

try {
  const answer = await fetch(`http://127.0.0.1:${port}/health`, { signal: AbortSignal.timeout(2000) });
  process.exitCode = answer.ok ? 0 : 1;
  if (!answer.ok) console.error(`answered ${answer.status}`);
} catch (error) {
  console.error(`no answer: ${error.cause?.code ?? error.message}`);
  process.exitCode = 1;
}
