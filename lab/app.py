"""The pages of the lab and the way between them. `python -m lab` serves it."""

import streamlit as st

PAGES = (
    st.Page("page/launch.py", title="Launch", icon=":material/rocket_launch:", url_path="launch", default=True),
    st.Page("page/run.py", title="Run", icon=":material/show_chart:", url_path="run"),
    st.Page("page/compare.py", title="Compare", icon=":material/table_chart:", url_path="compare"),
    st.Page("page/playground.py", title="Playground", icon=":material/forum:", url_path="playground"),
    st.Page("page/registry.py", title="Registry", icon=":material/inventory_2:", url_path="registry"),
)
STYLE = ".stMainBlockContainer { padding-top: 4.5rem; }"
# white, which Streamlit writes on it, has too little contrast with the orange of the dark theme
DARK = "button[kind=primary], button[kind=primary] * { color: #1c1917; }"

st.set_page_config(page_title="gptcore lab", layout="wide")
st.html(f"<style>{STYLE} {DARK if st.context.theme.type == 'dark' else ''}</style>")
st.navigation(PAGES, position="top").run()
