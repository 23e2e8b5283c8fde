// There: a function. The same API behind an event of the gateway.
import { handle } from "./app.mjs";

export async function handler(event) {
  const { method, path } = event.requestContext.http;
  const body = Buffer.from(event.body ?? "", event.isBase64Encoded ? "base64" : "utf8");
  const answer = await handle({ method, path, headers: event.headers ?? {}, body });
  const whole = Buffer.from(answer.body);
  return { statusCode: answer.status, headers: answer.headers, body: whole.toString("base64"), isBase64Encoded: true };
}
