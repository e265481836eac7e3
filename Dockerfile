FROM node:20-bookworm-slim
WORKDIR /app
ENV NODE_ENV=production HOST=0.0.0.0 DATA_DIR=/data
COPY package.json package-lock.json ./
COPY scripts ./scripts
RUN node scripts/setup.mjs && mkdir /data && chown node:node /data /app
COPY --chown=node:node . .
RUN node scripts/build.mjs && chown -R node:node dist
USER node
VOLUME /data
EXPOSE 8080
HEALTHCHECK CMD node -e "fetch('http://127.0.0.1:8080/readyz').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"
CMD ["node", "--max-semi-space-size=64", "bin/comptroller.mjs", "start"]
