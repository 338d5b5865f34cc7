//! The product's sources as the compiler sees them: modules, what each one uses, and the public types it declares.
//!
//! Code under `#[cfg(test)]` (or a `cfg` that names `test` to let fixtures in) is not product code and is left out.
//! A `use` anywhere in a module counts for the whole module. Paths inside macro calls are read from their tokens.

use std::collections::BTreeMap;

use syn::visit::{self, Visit};

use crate::tree::{Text, rust};

/// Names from the crate's root; empty for the root itself.
pub(crate) type Module = Vec<String>;

/// What one module says.
#[derive(Default)]
pub(crate) struct Source {
    pub(crate) file: String,
    /// Paths that begin at `crate`, `self` or `super`, as written.
    pub(crate) uses: Vec<Vec<String>>,
    /// Names that `use` brings into the module, re-exports too, with the path behind each.
    pub(crate) imports: BTreeMap<String, Vec<String>>,
    /// Names of `pub` structs, enums, traits and type aliases.
    pub(crate) public_types: Vec<String>,
}

/// The modules of every member that is a product, by the member's name.
pub(crate) fn members() -> BTreeMap<String, BTreeMap<Module, Source>> {
    let mut members: BTreeMap<String, Reader> = BTreeMap::new();
    for file in rust() {
        let Some((member, inner)) = file.path.split_once("/src/") else {
            continue;
        };
        // A binary's root is a crate of its own that uses the library.
        if member == "tests" || member.contains('/') || inner == "main.rs" || file.is_test() {
            continue;
        }
        let reader = members.entry(member.to_owned()).or_default();
        reader.read(&file, inner);
    }
    members
        .into_iter()
        .map(|(member, reader)| (member, reader.finish()))
        .collect()
}

#[derive(Default)]
struct Reader {
    modules: BTreeMap<Module, Source>,
    tests: Vec<Module>,
    /// The module whose items are being visited.
    inside: Module,
}

// === impl Reader ===

impl Reader {
    fn read(&mut self, file: &Text, inner: &str) {
        let path = inner.trim_end_matches(".rs").trim_end_matches("/mod");
        self.inside = path.split('/').map(str::to_owned).collect();
        if self.inside == ["lib"] {
            self.inside.clear();
        }
        self.source().file.clone_from(&file.path);
        let parsed = syn::parse_file(&file.content);
        let parsed = parsed.unwrap_or_else(|error| panic!("{}: {error}", file.path));
        self.visit_file(&parsed);
    }

    /// Without the modules that only tests have.
    fn finish(self) -> BTreeMap<Module, Source> {
        let Self { modules, tests, .. } = self;
        let product = modules
            .into_iter()
            .filter(|(module, _)| !tests.iter().any(|test| module.starts_with(test)));
        product.collect()
    }

    fn source(&mut self) -> &mut Source {
        self.modules.entry(self.inside.clone()).or_default()
    }

    fn used(&mut self, path: Vec<String>) {
        let starts = ["crate", "self", "super"];
        if path.len() > 1 && starts.contains(&path[0].as_str()) {
            self.source().uses.push(path);
        }
    }

    fn imported(&mut self, tree: &syn::UseTree, before: &[String]) {
        let mut path = before.to_vec();
        match tree {
            syn::UseTree::Path(part) => {
                path.push(part.ident.to_string());
                self.imported(&part.tree, &path);
            }
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.imported(tree, before);
                }
            }
            syn::UseTree::Glob(_) => self.used(path),
            syn::UseTree::Name(name) => self.import(name.ident.to_string(), None, path),
            syn::UseTree::Rename(rename) => {
                let (name, to) = (rename.ident.to_string(), rename.rename.to_string());
                self.import(name, Some(to), path);
            }
        }
    }

    fn import(&mut self, name: String, renamed: Option<String>, mut path: Vec<String>) {
        if name != "self" {
            path.push(name);
        }
        if let Some(last) = path.last() {
            let name = renamed.unwrap_or_else(|| last.clone());
            self.source().imports.insert(name, path.clone());
        }
        self.used(path);
    }

    fn declared(&mut self, visibility: &syn::Visibility, name: &syn::Ident) {
        if matches!(visibility, syn::Visibility::Public(_)) {
            self.source().public_types.push(name.to_string());
        }
    }

    fn tokens(&mut self, tokens: proc_macro2::TokenStream) {
        let mut path: Vec<String> = Vec::new();
        for token in tokens {
            match token {
                proc_macro2::TokenTree::Ident(ident) => {
                    // A name that follows a name begins another path.
                    if path.last().is_some_and(|part| !part.is_empty()) {
                        self.used(std::mem::take(&mut path));
                    }
                    path.retain(|part| !part.is_empty());
                    path.push(ident.to_string());
                }
                // The empty part stands for `::` that waits for its name.
                proc_macro2::TokenTree::Punct(punct) if punct.as_char() == ':' => {
                    if path.last().is_some_and(|part| !part.is_empty()) {
                        path.push(String::new());
                    }
                }
                proc_macro2::TokenTree::Group(group) => {
                    self.used(std::mem::take(&mut path));
                    self.tokens(group.stream());
                }
                _ => self.used(std::mem::take(&mut path)),
            }
        }
        path.retain(|part| !part.is_empty());
        self.used(path);
    }
}

// === impl Visit ===

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !attributes(item).iter().any(is_for_tests) {
            visit::visit_item(self, item);
        } else if let syn::Item::Mod(module) = item {
            let mut path = self.inside.clone();
            path.push(module.ident.to_string());
            self.tests.push(path);
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !function.attrs.iter().any(is_for_tests) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        let file = self.source().file.clone();
        self.inside.push(module.ident.to_string());
        if module.content.is_some() {
            self.source().file = file;
            visit::visit_item_mod(self, module);
        }
        self.inside.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.imported(&item.tree, &[]);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names = path.segments.iter().map(|part| part.ident.to_string());
        self.used(names.collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.declared(&item.vis, &item.ident);
        visit::visit_item_struct(self, item);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.declared(&item.vis, &item.ident);
        visit::visit_item_enum(self, item);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.declared(&item.vis, &item.ident);
        visit::visit_item_trait(self, item);
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.declared(&item.vis, &item.ident);
        visit::visit_item_type(self, item);
    }
}

/// `#[cfg(test)]`, `#[cfg(any(test, …))]`; not `#[cfg(not(test))]`.
fn is_for_tests(attribute: &syn::Attribute) -> bool {
    let syn::Meta::List(list) = &attribute.meta else {
        return false;
    };
    let condition = list.tokens.to_string();
    let mut names = condition.split(|char: char| !char.is_alphanumeric() && char != '_');
    list.path.is_ident("cfg") && !condition.starts_with("not") && names.any(|name| name == "test")
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Macro(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
