//! Which rows a query matches, in which order, and which stretch of them.

use std::sync::Arc;

use cupola_domain::{apps::App, feature_flags::FeatureFlag, roles::Role, routes::Destination};

use super::{ids, insert_all, row, with};
use crate::store::{
    Condition::{Any, Contains, Greater, In, IsNull, Label, Less, NotIn},
    Direction::{Ascending, Descending},
    Noun as _, Page, Query, Row, Store, StoreError, Value,
    WantedLabel::{Absent, NoneOf, OneOf, Present},
};

pub async fn a_column_that_does_not_exist_is_an_error(store: Arc<dyn Store>) {
    let mut tx = store.read().await.expect("a read begins");

    let wanted = tx.list_rows(App::TABLE, &Query::by("colour", "blue")).await;
    let ordered = tx.list_rows(App::TABLE, &Query::all().ordered("colour", Ascending)).await;

    assert!(matches!(wanted, Err(StoreError::Database(_))), "{wanted:?}");
    assert!(matches!(ordered, Err(StoreError::Database(_))), "{ordered:?}");
}

pub async fn conditions_on_values_treat_null_as_one(store: Arc<dyn Store>) {
    let table = Destination::TABLE;
    let rows = vec![
        with(table, row(table, "a", 1), "app_id", "x"),
        with(table, row(table, "b", 2), "app_id", "y"),
        with(table, without_port(row(table, "c", 3)), "app_id", Value::Null),
    ];
    insert_all(&store, table, rows).await;
    let found = async |condition| ids(&store, table, &Query::all().and(condition)).await;
    let x_or_null = || vec!["x".into(), Value::Null];

    assert_eq!(found(In("app_id", vec!["x".into()])).await, "a");
    assert_eq!(found(In("app_id", vec!["y".into(), "x".into(), "x".into()])).await, "a b");
    assert_eq!(found(In("app_id", vec![])).await, "");
    assert_eq!(found(In("app_id", vec![Value::Null])).await, "c");
    assert_eq!(found(In("app_id", x_or_null())).await, "a c");
    assert_eq!(found(In("port", vec![1.into(), 2.into(), 9.into()])).await, "a b");
    assert_eq!(found(In("id", vec!["c".into(), "a".into()])).await, "a c");
    assert_eq!(found(In("app_id", vec!["nul\0".into(), "y".into()])).await, "b");
    assert_eq!(found(NotIn("app_id", vec!["x".into()])).await, "b c");
    assert_eq!(found(NotIn("app_id", vec!["x".into(), "y".into()])).await, "c");
    assert_eq!(found(NotIn("app_id", x_or_null())).await, "b");
    assert_eq!(found(NotIn("app_id", vec![])).await, "a b c");
    assert_eq!(found(IsNull("app_id")).await, "c");
    assert_eq!(found(IsNull("port")).await, "c");
}

fn without_port(row: Row) -> Row {
    with(Destination::TABLE, row, "port", Value::Null)
}

pub async fn conditions_on_numbers_exclude_their_limit(store: Arc<dyn Store>) {
    let table = Destination::TABLE;
    let rows = vec![row(table, "a", 10), row(table, "b", 20), without_port(row(table, "c", 30))];
    insert_all(&store, table, rows).await;
    let found = async |condition| ids(&store, table, &Query::all().and(condition)).await;

    assert_eq!(found(Less("port", 20)).await, "a");
    assert_eq!(found(Greater("port", 10)).await, "b");
    assert_eq!(found(Less("created_at", 30)).await, "a b");
    assert_eq!(found(Greater("created_at", 10)).await, "b c");
    assert_eq!(found(Greater("updated_at", 20)).await, "b c");
}

pub async fn conditions_on_text_know_no_case_and_no_wildcards(store: Arc<dyn Store>) {
    let table = App::TABLE;
    let named = |id, name: &str| with(table, row(table, id, 1), "name", name);
    let rows = vec![
        named("a", "My-App"),
        named("b", "100%_done\\"),
        with(table, row(table, "c", 1), "name", Value::Null),
    ];
    insert_all(&store, table, rows).await;
    let found = async |part: &str| {
        ids(&store, table, &Query::all().and(Contains("name", part.to_owned()))).await
    };

    assert_eq!(found("y-aPP").await, "a");
    assert_eq!(found("%_D").await, "b");
    assert_eq!(found("\\").await, "b");
    assert_eq!(found("_").await, "b");
    assert_eq!(found("M%p").await, "");
    assert_eq!(found("nul\0").await, "");
    assert_eq!(found("").await, "a b");
}

pub async fn conditions_on_labels_look_into_bodies(store: Arc<dyn Store>) {
    let table = App::TABLE;
    let labelled = |id, metadata: &str| Row {
        body: format!("{{\"metadata\":{metadata}}}"),
        ..row(table, id, 1)
    };
    let rows = vec![
        labelled("a", r#"{"labels":{"env":"prod","acme.example/tier":"1"}}"#),
        labelled(
            "b",
            r#"{"labels":{"env":"test"},"annotations":{"x":"\u0000\u0000 \\u0000 \\\u0000"}}"#,
        ),
        labelled("c", r#"{"labels":{}}"#),
        row(table, "d", 1),
    ];
    insert_all(&store, table, rows).await;
    let found = async |name: &str, wanted| {
        ids(&store, table, &Query::all().and(Label(name.to_owned(), wanted))).await
    };
    let values = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();

    assert_eq!(found("env", Present).await, "a b");
    assert_eq!(found("env", Absent).await, "c d");
    assert_eq!(found("env", OneOf(values(&["prod"]))).await, "a");
    assert_eq!(found("env", OneOf(values(&["nul\0", "test", "prod"]))).await, "a b");
    assert_eq!(found("env", OneOf(values(&[]))).await, "");
    assert_eq!(found("env", NoneOf(values(&["prod"]))).await, "b c d");
    assert_eq!(found("acme.example/tier", OneOf(values(&["1"]))).await, "a");
    assert_eq!(found("acme", Present).await, "");
    assert_eq!(found("\" OR 1 = 1 --", Present).await, "");
    assert_eq!(found("nul\0", OneOf(values(&["1"]))).await, "");
    assert_eq!(found("nul\0", Absent).await, "a b c d");
    let page = Query::all().and(Label("env".to_owned(), Present));
    let page =
        Query { limit: Some(1), offset: 1, ..page.and(In("id", vec!["a".into(), "b".into()])) };
    assert_eq!(ids(&store, table, &page).await, "b");
}

pub async fn alternatives_are_joined_within_all_conditions(store: Arc<dyn Store>) {
    let table = Role::TABLE;
    let rows = vec![
        with(table, row(table, "a", 1), "kind", "auditor"),
        with(table, row(table, "b", 2), "kind", "manager"),
        with(table, row(table, "c", 3), "kind", "manager"),
        with(table, row(table, "d", 4), "kind", "developer"),
    ];
    insert_all(&store, table, rows).await;
    let alternatives =
        Any(vec![In("user_id", vec!["user_id-a".into()]), In("id", vec!["c".into(), "d".into()])]);
    let nested = Any(vec![Any(vec![]), Any(vec![Less("created_at", 2)])]);

    let both = Query::all().and(alternatives.clone()).and(NotIn("kind", vec!["developer".into()]));
    assert_eq!(ids(&store, table, &Query::all().and(alternatives)).await, "a c d");
    assert_eq!(ids(&store, table, &both).await, "a c");
    assert_eq!(ids(&store, table, &Query::all().and(nested)).await, "a");
    assert_eq!(ids(&store, table, &Query::all().and(Any(vec![]))).await, "");
}

pub async fn rows_come_in_the_wanted_order(store: Arc<dyn Store>) {
    let table = Destination::TABLE;
    let rows = vec![
        with(table, row(table, "a", 2), "process_type", "web"),
        with(table, row(table, "b", 1), "process_type", "web"),
        with(table, row(table, "c", 3), "process_type", Value::Null),
        with(table, row(table, "d", 4), "process_type", "cron"),
    ];
    insert_all(&store, table, rows).await;
    let found = async |query| ids(&store, table, &query).await;

    assert_eq!(found(Query::all()).await, "a b c d");
    assert_eq!(found(Query::all().ordered("created_at", Ascending)).await, "b a c d");
    assert_eq!(found(Query::all().ordered("port", Descending)).await, "d c a b");
    let by_type = Query::all().ordered("process_type", Ascending);
    assert_eq!(found(by_type.clone()).await, "c d a b");
    assert_eq!(found(by_type.ordered("port", Ascending)).await, "c d b a");
    let by_type_down = Query::all().ordered("process_type", Descending);
    assert_eq!(found(by_type_down.ordered("id", Descending)).await, "b a d c");
}

pub async fn equal_rows_come_in_the_order_of_insertion(store: Arc<dyn Store>) {
    let table = App::TABLE;
    let rows = ["z", "m", "a", "q"].map(|id| with(table, row(table, id, 1), "name", "same"));
    insert_all(&store, table, rows.to_vec()).await;

    let up = Query::all().ordered("name", Ascending);
    let down = Query::all().ordered("created_at", Descending);

    assert_eq!(ids(&store, table, &up).await, "z m a q");
    assert_eq!(ids(&store, table, &down).await, "z m a q");
}

pub async fn text_is_ordered_by_code_point(store: Arc<dyn Store>) {
    let table = FeatureFlag::TABLE;
    let rows = ["é", "b", "a-b", "B", "a_b", "ab", "🦀"].map(|id| row(table, id, 1));
    insert_all(&store, table, rows.to_vec()).await;

    let by_id = Query::all().ordered("id", Ascending);

    assert_eq!(ids(&store, table, &by_id).await, "B a-b a_b ab b é 🦀");
}

pub async fn a_page_tells_the_total(store: Arc<dyn Store>) {
    let table = App::TABLE;
    let rows = (0..10).map(|number| row(table, &number.to_string(), number)).collect();
    insert_all(&store, table, rows).await;
    let page = async |offset, limit| {
        let query = Query { offset, limit, ..Query::all().and(Greater("created_at", 2)) };
        let mut tx = store.read().await.expect("a read begins");
        let Page { items, total } = tx.list_rows(table, &query).await.expect("the rows are listed");
        (items.into_iter().map(|row| row.id).collect::<String>(), total)
    };

    assert_eq!(page(0, None).await, ("3456789".to_owned(), 7));
    assert_eq!(page(0, Some(3)).await, ("345".to_owned(), 7));
    assert_eq!(page(3, Some(3)).await, ("678".to_owned(), 7));
    assert_eq!(page(6, Some(3)).await, ("9".to_owned(), 7));
    assert_eq!(page(5, None).await, ("89".to_owned(), 7));
    assert_eq!(page(99, Some(3)).await, (String::new(), 7));
    assert_eq!(page(0, Some(0)).await, (String::new(), 7));
    assert_eq!(page(u64::MAX, Some(u64::MAX)).await, (String::new(), 7));
}

pub async fn ten_thousand_values_fit_into_one_condition(store: Arc<dyn Store>) {
    let table = Destination::TABLE;
    let rows = (0..5).map(|number| row(table, &format!("row-{number}"), number)).collect();
    insert_all(&store, table, rows).await;
    let texts: Vec<Value> = (3..10_003).map(|number| format!("row-{number}").into()).collect();
    let numbers: Vec<Value> = (2..10_002).map(Value::Integer).collect();
    let many = In("id", texts.clone());

    let listed = ids(&store, table, &Query::all().and(many.clone())).await;
    let others = ids(&store, table, &Query::all().and(NotIn("id", texts))).await;
    let by_number = ids(&store, table, &Query::all().and(In("port", numbers))).await;
    let mut tx = store.write(None).await.expect("a write begins");
    let deleted = tx.delete_rows(table, &[many]).await.expect("the listed rows are deleted");

    assert_eq!(listed, "row-3 row-4");
    assert_eq!(others, "row-0 row-1 row-2");
    assert_eq!(by_number, "row-2 row-3 row-4");
    assert_eq!(deleted, 2);
}
