//! The status page at `/ui`: files that are part of the program, served as they are.
//!
//! The page is plain HTML, CSS and ES modules (`server-bridge/ui`); all it shows it reads from the REST API, as whoever
//! opened it. So the files hold nothing secret and are given to everybody who may connect, while the data is behind the
//! same authentication as every other call: a browser sends its client certificate by itself, and a token is asked for by
//! the page, which keeps it in memory only.
//!
//! **Invariant:** the page runs no code and loads nothing but these files (`POLICY`), and no other page can frame it. It
//! makes no HTML from text: `require-trusted-types-for` makes a browser refuse that, whatever a bundle is called.

use std::sync::LazyLock;

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use sha2::{Digest as _, Sha256};

/// Where the page is.
pub const PATH: &str = "/ui";

/// A file of the page.
#[derive(Debug)]
struct Asset {
    path: &'static str,
    kind: &'static str,
    content: &'static str,
}

/// The routes of the page, which ask nobody who calls.
pub(crate) fn router() -> Router {
    ASSETS.iter().fold(Router::new(), |router, asset| {
        let answer = move |headers: HeaderMap| async move { asset.answer(&headers) };
        router.route(asset.path, get(answer))
    })
}

// === impl Asset ===

impl Asset {
    fn answer(&self, request: &HeaderMap) -> Response {
        let mut tags = TAGS.iter().zip(ASSETS);
        let tag = tags.find(|(_, asset)| asset.path == self.path);
        let tag = tag.and_then(|(tag, _)| HeaderValue::from_str(tag).ok());
        let known = tag.is_some() && request.get(header::IF_NONE_MATCH) == tag.as_ref();
        let mut response = match known {
            true => StatusCode::NOT_MODIFIED.into_response(),
            false => ([(header::CONTENT_TYPE, self.kind)], self.content).into_response(),
        };
        let headers = response.headers_mut();
        for (name, value) in HEADERS {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        if let Some(tag) = tag {
            headers.insert(header::ETAG, tag);
        }
        response
    }
}

/// Weak, because an answer may be compressed on its way.
static TAGS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let tag = |asset: &Asset| {
        let digest = Sha256::digest(asset.content);
        let hex: String = digest[..8].iter().map(|b| format!("{b:02x}")).collect();
        format!("W/\"{hex}\"")
    };
    ASSETS.iter().map(tag).collect()
});

/// What the page may do: run and load its own files, and call the API it came from.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const HEADERS: &[(&str, &str)] = &[
    // Asked for again each time, and answered by 304 until another version runs.
    ("cache-control", "no-cache"),
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// A module of the page by its name.
macro_rules! module {
    ($name:literal) => {
        Asset {
            path: concat!("/ui/app/", $name),
            kind: SCRIPT,
            content: include_str!(concat!("../ui/app/", $name)),
        }
    };
}

static ASSETS: &[Asset] = &[
    Asset {
        path: PATH,
        kind: "text/html; charset=utf-8",
        content: include_str!("../ui/index.html"),
    },
    Asset {
        path: "/ui/style.css",
        kind: "text/css; charset=utf-8",
        content: include_str!("../ui/style.css"),
    },
    Asset {
        path: "/ui/icon.svg",
        kind: "image/svg+xml",
        content: include_str!("../ui/icon.svg"),
    },
    module!("main.js"),
    module!("api.js"),
    module!("bundle.js"),
    module!("cluster.js"),
    module!("clusters.js"),
    module!("dom.js"),
    module!("live.js"),
    module!("parts.js"),
    module!("story.js"),
    module!("stuck.js"),
    module!("words.js"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_page_is_served_and_none_is_written_inline() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/ui/app");
        let served = |name: &str| ASSETS.iter().any(|a| a.path == format!("/ui/app/{name}"));
        for file in std::fs::read_dir(folder).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            assert!(served(&name), "{name}");
        }
        let page = include_str!("../ui/index.html");
        for inline in [
            "<style",
            " style=",
            "<script>",
            " onclick=",
            "javascript:",
            "http:",
            "https:",
        ] {
            assert!(!page.contains(inline), "{inline}");
        }
        for asset in ASSETS.iter().filter(|asset| asset.kind == SCRIPT) {
            for unsafe_way in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "eval(",
                "document.write",
                "localStorage",
                "sessionStorage",
                "document.cookie",
            ] {
                assert!(
                    !asset.content.contains(unsafe_way),
                    "{}: {unsafe_way}",
                    asset.path
                );
            }
        }
    }

    #[test]
    fn a_file_is_answered_once_for_each_version_and_with_its_policy_each_time() {
        let asset = &ASSETS[0];
        let first = asset.answer(&HeaderMap::new());
        assert_eq!(first.status(), StatusCode::OK);
        let mut again = HeaderMap::new();
        again.insert(header::IF_NONE_MATCH, first.headers()[header::ETAG].clone());
        let second = asset.answer(&again);
        assert_eq!(second.status(), StatusCode::NOT_MODIFIED);
        for response in [first, second] {
            assert_eq!(response.headers()[header::CONTENT_SECURITY_POLICY], POLICY);
            assert_eq!(response.headers()[header::CACHE_CONTROL], "no-cache");
        }
        let mut other = HeaderMap::new();
        other.insert(header::IF_NONE_MATCH, HeaderValue::from_static("W/\"0\""));
        assert_eq!(asset.answer(&other).status(), StatusCode::OK);
    }
}
