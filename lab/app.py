"""The pages of the lab and the way between them. `python -m lab` serves it."""

import streamlit as st

PAGES = (
    st.Page("page/launch.py", title="Launch", icon=":material/rocket_launch:", url_path="launch", default=True),
    st.Page("page/run.py", title="Run", icon=":material/show_chart:", url_path="run"),
    st.Page("page/compare.py", title="Compare", icon=":material/table_chart:", url_path="compare"),
    st.Page("page/playground.py", title="Playground", icon=":material/forum:", url_path="playground"),
    st.Page("page/registry.py", title="Registry", icon=":material/inventory_2:", url_path="registry"),
)
# of the browser's tab
ICON = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">
<rect width="32" height="32" rx="7" fill="#c2410c"/>
<path d="M6 7c2 12 8 16 20 17" fill="none" stroke="#fff" stroke-width="3" stroke-linecap="round"/></svg>"""
# the page itself takes the focus, to be scrolled, and so does a table's cell, at which Chromium does not look again for
# `canvas:has(:focus-visible)`; the colour of code is too faint where a caption fades it; and nothing fades while a page
# looks again
STYLE = """
.stMainBlockContainer { padding-top: 4.5rem; }
a:focus-visible { outline: 2px solid currentColor !important; outline-offset: 2px; }
[data-testid=stMain]:focus-visible, canvas:focus-within {
    outline: 2px solid currentColor !important; outline-offset: -2px;
}
[data-testid=stCaptionContainer] code { color: inherit; }
[data-stale=true], [data-testid=stExpander], [data-testid=stExpander] > * { opacity: 1 !important; }
"""
# white, which Streamlit writes on it, has too little contrast with the orange of the dark theme
DARK = "button[kind=primary]:enabled, button[kind=primary]:enabled * { color: #1c1917; }"

page = st.navigation(PAGES, position="top")
st.set_page_config(page_title=f"{page.title}, gptcore lab", page_icon=ICON, layout="wide")
st.html(f"<style>{STYLE} {DARK if st.context.theme.type == 'dark' else ''}</style>")
page.run()
