"""``/docs``: the interface, to be read and tried in a browser. Nothing of the page comes from elsewhere."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from starlette.staticfiles import StaticFiles


def add_reference(app: FastAPI) -> None:
    """Serve the page and its files, under addresses that hold behind any path of a proxy."""
    title = f"{app.title}: the interface"

    @app.get("/docs", response_class=HTMLResponse, include_in_schema=False)
    async def reference() -> HTMLResponse:
        """The page."""
        return get_swagger_ui_html(
            openapi_url="openapi.json",
            title=title,
            swagger_js_url="docs/swagger-ui-bundle.js",
            swagger_css_url="docs/swagger-ui.css",
            swagger_favicon_url="docs/favicon-32x32.png",
        )

    app.mount("/docs", StaticFiles(packages=[("fastapi_swagger", "resources")]))
