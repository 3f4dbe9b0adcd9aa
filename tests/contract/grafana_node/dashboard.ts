// What a dashboard's JSON must look like, made from the types that Grafana publishes: the whole document, and for each
// kind of panel its options and the part of its field configuration that belongs to it.
import type { AnnotationQuery, Dashboard as Document } from "@grafana/schema";
import type * as BarChart from "@grafana/schema/dist/esm/raw/composable/barchart/panelcfg/x/BarChartPanelCfg_types.gen";
import type * as BarGauge from "@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen";
import type * as Stat from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type {
  FieldConfig as TimelineFieldConfig,
  Options as TimelineOptions,
} from "@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen";
import type * as Table from "@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen";
import type {
  FieldConfig as TimeSeriesFieldConfig,
  Options as TimeSeriesOptions,
} from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";

// How an alert's labels become an annotation's words is the Prometheus data source's affair, and not in the package.
interface PrometheusAnnotation {
  tagKeys?: string;
  textFormat?: string;
  titleFormat?: string;
}

// In JSON an enum is its value: TypeScript would otherwise refuse "none" where the type says TooltipDisplayMode.None.
type Json<T> = 0 extends 1 & T
  ? unknown
  : T extends string
    ? string extends T
      ? string
      : `${T}`
    : T extends number
      ? number
      : T extends boolean | null | undefined
        ? T
        : T extends readonly (infer Item)[]
          ? Json<Item>[]
          : T extends { refId: string }
            ? { refId: string } & Record<string, unknown> // a query: its language is its data source's affair
            : T extends AnnotationQuery
              ? { [Key in keyof T]: Json<T[Key]> } & PrometheusAnnotation
              : T extends object
                ? { [Key in keyof T]: Json<T[Key]> }
                : T;

export type Dashboard = Json<Document>;

interface Kinds {
  barchart: { options: Json<BarChart.Options>; custom: Json<BarChart.FieldConfig> };
  bargauge: { options: Json<BarGauge.Options>; custom: Record<string, never> };
  stat: { options: Json<Stat.Options>; custom: Record<string, never> };
  "state-timeline": { options: Json<TimelineOptions>; custom: Json<TimelineFieldConfig> };
  table: { options: Json<Table.Options>; custom: Json<Partial<Table.FieldConfig>> };
  timeseries: { options: Json<TimeSeriesOptions>; custom: Json<TimeSeriesFieldConfig> };
}

// A partial `options`: the type says what Grafana holds after it has filled in its own defaults.
export type Panel = {
  [Kind in keyof Kinds]: { kind: Kind; options: Partial<Kinds[Kind]["options"]>; custom: Kinds[Kind]["custom"] };
}[keyof Kinds];
