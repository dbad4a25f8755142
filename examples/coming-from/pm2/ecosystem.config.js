module.exports = {
  apps: [
    {
      name: "api",
      script: "./api.sh",
      interpreter: "none",
      args: ["--verbose"],
      cwd: ".",
      env: { NODE_ENV: "production" },
      autorestart: true,
      max_restarts: 10,
      kill_timeout: 3000,
      wait_ready: true,
      listen_timeout: 8000,
    },
    { name: "nightly", script: "./nightly.sh", interpreter: "none", autorestart: false },
  ],
};
