# Governor in an image: only production dependencies, a numeric user that owns nothing but /data, and a
# root file system that may be read-only. test/deploy/image.test.ts runs what is written here.

FROM node:24.21.0-trixie-slim AS build
WORKDIR /governor

# The Node of the base image runs it, so the one that npm would bring for older hosts stays out.
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --omit=optional --ignore-scripts

COPY config/starter.yaml config/prices.json config/
COPY src src

# Types are stripped and code is compiled once, here: a start takes 0.44 s and 116 MiB, without 0.77 s and
# 152 MiB (measured on 2 cores, until it says that it runs).
# The cache is found again only under the same path, Node, user id and kind of CPU; elsewhere
# Governor starts without it. The demo makes real calls, so a broken image does not build.
ENV NODE_COMPILE_CACHE=/governor/.compile-cache
RUN chmod -R go=rX . && install -d -o 65532 -g 65532 .compile-cache
USER 65532:65532
RUN node --concurrent-recompilation-queue-length=4 --import ./src/require-node.mjs \
    --import ./src/cli/run.ts --import ./src/cli/check.ts src/main.ts demo && chmod -R go=rX .compile-cache

FROM node:24.21.0-trixie-slim
# A new named volume takes over this owner.
RUN install -d -o 65532 -g 65532 -m 0700 /data
WORKDIR /governor
COPY --from=build --chown=0:0 /governor ./
ENV NODE_COMPILE_CACHE=/governor/.compile-cache
# V8 would let the young generation grow to 128 MiB, and glibc keep an arena a thread and what was freed; with
# these a loaded Governor stays under 180 MiB. More memory for bodies: raise both this and maximums.in_flight.
# Four compiling threads would take a pod's one core in turns: an event waited 4 to 10 ms (p99) instead of 2 to 3.
ENV NODE_OPTIONS="--max-semi-space-size=4 --max-old-space-size=256 --v8-pool-size=1" \
    MALLOC_ARENA_MAX=1 MALLOC_TRIM_THRESHOLD_=131072
# Numeric, because runAsNonRoot cannot tell whether a name is root.
USER 65532:65532
VOLUME ["/data"]
EXPOSE 4141 4143
STOPSIGNAL SIGTERM
# listen.admin is on unless the configuration moves it; the image has no curl.
HEALTHCHECK --interval=30s --timeout=3s --start-period=10s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:4142/livez').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "--concurrent-recompilation-queue-length=4", "--import", "./src/require-node.mjs", "src/main.ts"]
CMD ["run", "--config", "/etc/governor/governance.yaml"]
