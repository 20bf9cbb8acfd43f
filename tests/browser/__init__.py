"""The web UI in a real browser: Chromium, driven by Playwright, against a real Airflow."""
