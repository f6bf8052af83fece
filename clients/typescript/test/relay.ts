/** A server that can be away: a relay before the real one, at an address that stays. */

import { createServer, connect as dial, type Socket } from "node:net";

import { address } from "./serve.ts";

export interface Relay {
  readonly address: string;
  /** Cuts all connections, and takes no other. */
  leave(): void;
  /** Takes connections again. */
  comeBack(): void;
  close(): void;
}

/** Starts one, which is there. */
export async function relay(): Promise<Relay> {
  const sockets = new Set<Socket>();
  let isAway = false;
  const server = createServer((near) => {
    if (isAway) return void near.destroy();
    const [host, port] = address.split(":");
    const far = dial(Number(port), host);
    near.pipe(far).pipe(near);
    for (const [socket, other] of [[near, far], [far, near]] as const) {
      sockets.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  server.unref();
  const leave = () => {
    isAway = true;
    for (const socket of sockets) socket.destroy();
  };
  return {
    address: `127.0.0.1:${(server.address() as { port: number }).port}`,
    leave,
    comeBack: () => (isAway = false),
    close: () => {
      leave();
      server.close();
    },
  };
}
