//! Narrative in JSON: what R4 allows and what it does not.

use super::{refused, strict};

fn document(div: &str) -> String {
    let div = serde_json::to_string(div).unwrap();
    format!(r#"{{"resourceType":"Patient","text":{{"status":"generated","div":{div}}}}}"#)
}

#[test]
fn allowed() {
    for inner in [
        "text",
        "",
        " \n\t",
        "one <b>two</b> three &lt;&gt;&amp;&quot;&apos;&#160;&#xA0;&#x1F600; é 😀",
        r#"<a href="http://example.org/x?a=1&amp;b=2">x</a><a href="Patient/1">y</a><a name="here"/>"#,
        r##"<a href="#here">x</a><a href="mailto:a@b.org">y</a><a href="tel:+1">z</a>"##,
        r##"<img src="#11" alt=""/><img src="http://example.org/a.png"/><img src="a.png"/>"##,
        r#"<img src="data:image/png;base64,AAAA" width="10" height='10'/>"#,
        r#"<p style="color: red; background: url(a.png)" class="c" id="i" title="t" xml:lang="en" lang="en">x</p>"#,
        r#"<table border="0" cellspacing="0"><caption>c</caption><colgroup><col span="2"/></colgroup><thead><tr><th colspan="2">a</th></tr></thead><tbody><tr><td rowspan="1" bgcolor="x">b</td></tr></tbody></table>"#,
        "<!-- a <script> - in a comment -->",
        "<br></br><hr  /><p\n>x</p\n>",
        r#"<blockquote cite="http://x"><pre>x</pre><code>y</code></blockquote><dl><dt>a</dt><dd>b</dd></dl>"#,
        "<div xmlns=\"http://www.w3.org/1999/xhtml\" xmlns:x='urn:y'>x</div>",
    ] {
        for div in [
            format!(r#"<div xmlns="http://www.w3.org/1999/xhtml">{inner}</div>"#),
            format!(" <div>{inner}</div>\n"),
        ] {
            let document = document(&div);
            let answer = strict(&document);
            assert!(answer.is_ok(), "{div}: {answer:?}");
        }
    }
    for div in [
        r#"<div xmlns="http://www.w3.org/1999/xhtml"/>"#,
        r#"<div xmlns='http://www.w3.org/1999/xhtml'></div>"#,
    ] {
        assert!(strict(&document(div)).is_ok(), "{div}");
    }
}

#[test]
fn forbidden() {
    for (inner, text) in [
        ("<script>alert(1)</script>", "element `script`"),
        ("<style>b{}</style>", "element `style`"),
        ("<link rel=\"stylesheet\" href=\"x\"/>", "element `link`"),
        ("<base href=\"x\"/>", "element `base`"),
        ("<iframe src=\"x\"/>", "element `iframe`"),
        ("<frame/>", "element `frame`"),
        ("<object/>", "element `object`"),
        ("<embed/>", "element `embed`"),
        ("<form/>", "element `form`"),
        ("<input/>", "element `input`"),
        ("<head/>", "element `head`"),
        ("<body/>", "element `body`"),
        ("<svg/>", "element `svg`"),
        ("<SCRIPT>x</SCRIPT>", "element `SCRIPT`"),
        ("<x:script xmlns:x=\"http://www.w3.org/1999/xhtml\"/>", "element `x:script`"),
        ("<p onclick=\"x()\">a</p>", "attribute `onclick`"),
        ("<p ONLOAD=\"x()\">a</p>", "attribute `ONLOAD`"),
        ("<a xlink:href=\"x\">a</a>", "attribute `xlink:href`"),
        ("<a href=\"javascript:x()\">a</a>", "a script in attribute `href`"),
        ("<a href=\" JavaScript:x()\">a</a>", "a script in attribute `href`"),
        ("<a href=\"&#106;avascript:x()\">a</a>", "a script in attribute `href`"),
        ("<a href=\"java&#10;script:x()\">a</a>", "a script in attribute `href`"),
        ("<a href=\"vbscript:x()\">a</a>", "a script in attribute `href`"),
        ("<a href=\"data:text/html,x\">a</a>", "a script in attribute `href`"),
        ("<img src=\"javascript:x()\"/>", "a script in attribute `src`"),
        ("<p style=\"width: expression(x())\">a</p>", "a script in attribute `style`"),
        ("<p style=\"background: url( 'javascript:x()')\">a</p>", "a script in attribute `style`"),
        ("<p style=\"@import 'http://x'\">a</p>", "a script in attribute `style`"),
    ] {
        let refusal = refused(&document(&format!("<div>{inner}</div>")));
        assert_eq!(refusal.issues.len(), 1, "{inner}");
        assert_eq!(refusal.issues[0].code, "invariant", "{inner}");
        assert!(refusal.issues[0].diagnostics.contains(text), "{inner}: {refusal:?}");
    }
}

#[test]
fn not_well_formed() {
    for div in [
        "text",
        "<p>a</p>",
        "<div>a",
        "<div>a</p>",
        "<div><b>a</div></b>",
        "<div>a</div>b",
        "<div>a</div><div>b</div>",
        "<div/>x",
        "a<div/>",
        "<?xml version=\"1.0\"?><div>a</div>",
        "<!DOCTYPE html><div>a</div>",
        "<!-- a --><div>a</div>",
        "<div><!DOCTYPE html></div>",
        "<div><![CDATA[a]]></div>",
        "<div><?a?></div>",
        "<div>a & b</div>",
        "<div>&nbsp;</div>",
        "<div>&copy;</div>",
        "<div>&#0;</div>",
        "<div>&#1;</div>",
        "<div>&#xD800;</div>",
        "<div>&#;</div>",
        "<div>&#160</div>",
        "<div>a < b</div>",
        "<div><br></div>",
        "<div><p class=a>b</p></div>",
        "<div><p class>b</p></div>",
        "<div><p class=\"a\" class=\"b\">c</p></div>",
        "<div><p class=\"a\"id=\"b\">c</p></div>",
        "<div><p class=\"<\">c</p></div>",
        "<div><p class=\"a>c</p></div>",
        "<div><!-- a -- b --></div>",
        "<div><!-- a </div>",
        "<div>\u{1}</div>",
        "<div xmlns=\"http://www.w3.org/1999/html\">a</div>",
        "<div",
        "<div ",
        "<div a",
        "<div a=",
        "<div a=\"",
        "<div/",
        "<divv/>",
        "<xhtml:div xmlns:xhtml=\"http://www.w3.org/1999/xhtml\">a</xhtml:div>",
    ] {
        let refusal = refused(&document(div));
        assert_eq!(refusal.issues.len(), 1, "{div}");
        assert_eq!(refusal.issues[0].expression.as_deref(), Some("Patient.text.div"), "{div}");
    }
    assert_eq!(refused(&document(&"<div>".repeat(10_000))).issues[0].code, "too-costly");
}
